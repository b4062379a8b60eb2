"""What the writer sends its scout for, and how: the side of scout.py that loads nothing heavy.

So a scout begins before its writer has loaded anything, and both load at once, each on a core.
"""

import asyncio
import contextlib
import os
import pickle
import struct
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import msgspec

from indexer.domain.block import Block
from indexer.domain.deployment import Deployment
from indexer.domain.step import Read
from indexer.domain.units import Address

MOST_WAITING_BYTES = 4 << 20
"""Of what was read and not yet folded; more waits in the scout."""
GAVE_UP = 75
"""Exit code of a scout whose nodes failed it: the writer will ask them itself."""

_COMMAND = (
    "import os; os.setpgid(0, 0); os.nice(10);"
    " import gc; gc.disable(); import sys, indexer.scout; sys.exit(indexer.scout.main())"
)
"""Ctrl-C is the writer's: it ends us. And where they share a core the writer goes first: nobody
waits for the scout but the writer. A session of its own would make the kernel share by sessions.

Nothing that is loaded goes again, so nobody looks for what might."""

_MEMORY = {
    "MALLOC_TRIM_THRESHOLD_": f"{64 << 20}",
    "MALLOC_MMAP_THRESHOLD_": f"{32 << 20}",
}
"""So much free memory glibc keeps: the next range needs what this one leaves, page by page."""

LENGTH = struct.Struct(">I")
"""What goes before a message."""


class Site(msgspec.Struct, frozen=True):
    """Where to read: known before the store is, so that a scout can connect meanwhile."""

    urls: tuple[str, ...]
    deployment: Deployment
    confirmations: int
    log_cache: Path | None


class Errand(msgspec.Struct, frozen=True):
    """What to read: blocks after `start` up to and with `final`."""

    start: Block
    final: Block
    markets: tuple[Address, ...]


class Scout:
    """A scout as its writer has it: told of its site once, then of its errand. To be closed."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._site: Site | None = None
        self._process: asyncio.subprocess.Process | None = None

    async def begin(self, site: Site | None = None) -> None:
        """Have a process ready: it loads what it needs, and connects, while the writer does."""
        knew, self._site = self._site, site or self._site
        if self._process is not None and self._process.returncode is not None:
            await self.close()  # it was kept waiting for too long
        if self._process is None:
            knew = None
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", _COMMAND),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=MOST_WAITING_BYTES,
                env=os.environ | _MEMORY,
            )
        if knew is None and self._site is not None:
            self._send(self._site)

    async def reads(
        self, start: Block, final: Block, markets: Iterable[Address]
    ) -> AsyncIterator[list[Read]]:
        """Finalized blocks with logs after `start`, range by range; perhaps not all of them."""
        await self.begin()
        assert self._site is not None, "sent to nowhere"
        self._send(Errand(start, final, tuple(markets)))
        process = self._process
        assert process is not None
        assert process.stdout is not None
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
                yield pickle.loads(await process.stdout.readexactly(length))
        code = await process.wait()
        await self.close()
        if code not in (0, GAVE_UP):
            self._tell(f"the scout ended with {code}; the writer reads the past by itself")

    async def close(self) -> None:
        """End what is under way."""
        process, self._process = self._process, None
        if process is not None:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    def _send(self, message: Site | Errand) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(framed(message))


def framed(message: object) -> bytes:
    """A message as it goes between the two."""
    body = pickle.dumps(message, protocol=5)
    return LENGTH.pack(len(body)) + body
