"""A process beside the writer's that reads the past ahead of it, while there is much of it.

    scout:   nodes or log cache -> checked ranges -> decoded, rows of `events` packed   ┐ a core
    writer:                                      folded -> rows -> Postgres             ┘ another

Nothing depends on it: it begins where the writer stands, what it tells is what the writer would
have read itself, and when it ends, for whatever reason, the writer goes on alone from there and
meets whatever was wrong. Both are of one program, so they talk in pickles.
"""

import asyncio
import contextlib
import gc
import os
import pickle
import select
import struct
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from indexer.chain.backfill import advances
from indexer.chain.errors import ChainError
from indexer.chain.log_cache import LogCache
from indexer.chain.providers import Providers
from indexer.chain.source import Watch
from indexer.chain.tokens import Tokens
from indexer.domain.block import Block
from indexer.domain.deployment import Deployment
from indexer.domain.step import Advance, Read
from indexer.domain.units import Address
from indexer.reading import Reader

MOST_WAITING_BYTES = 4 << 20
"""Of what was read and not yet folded; more waits in the scout."""
FRAME_LOGS = 500
"""Logs of a piece of a range, which is read, handed over and folded as one."""
GAVE_UP = 75
"""Exit code of a scout whose nodes failed it: the writer will ask them itself."""

IDLE_S = 20.0
"""How long a scout waits for its errand: a writer may stand by for days."""

_LENGTH = struct.Struct(">I")


class Errand(msgspec.Struct, frozen=True):
    """What to read: blocks after `start` up to and with `final`."""

    urls: tuple[str, ...]
    deployment: Deployment
    confirmations: int
    log_cache: Path | None
    start: Block
    final: Block
    markets: tuple[Address, ...]


class Scout:
    """The writer's side. One errand at a time; to be closed."""

    def __init__(
        self,
        urls: Sequence[str],
        deployment: Deployment,
        confirmations: int,
        log_cache: Path | None,
        tell: Callable[[str], None],
    ) -> None:
        self._urls = tuple(urls)
        self._deployment = deployment
        self._confirmations = confirmations
        self._log_cache = log_cache
        self._tell = tell
        self._process: asyncio.subprocess.Process | None = None

    async def begin(self) -> None:
        """Have a process ready: it loads what it needs while the writer does."""
        if self._process is not None and self._process.returncode is not None:
            await self.close()  # it was kept waiting for too long
        if self._process is None:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "indexer.scout"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=MOST_WAITING_BYTES,
                start_new_session=True,  # Ctrl-C is the writer's: it ends us
            )

    async def reads(
        self, start: Block, final: Block, markets: Iterable[Address]
    ) -> AsyncIterator[list[Read]]:
        """Finalized blocks with logs after `start`, range by range; perhaps not all of them."""
        await self.begin()
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(_framed(self._errand(start, final, markets)))
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                (length,) = _LENGTH.unpack(await process.stdout.readexactly(_LENGTH.size))
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

    def _errand(self, start: Block, final: Block, markets: Iterable[Address]) -> Errand:
        return Errand(
            self._urls,
            self._deployment,
            self._confirmations,
            self._log_cache,
            start,
            final,
            tuple(markets),
        )


def _framed(message: object) -> bytes:
    body = pickle.dumps(message, protocol=5)
    return _LENGTH.pack(len(body)) + body


# -- the scout's side ------------------------------------------------------------------------------


def main() -> int:
    """One errand, from standard input to standard output."""
    import uvloop

    asked = b""
    if select.select([0], (), (), IDLE_S)[0]:
        asked = sys.stdin.buffer.read(_LENGTH.size)
    if not asked:
        return 0  # there was nothing to do
    (length,) = _LENGTH.unpack(asked)
    errand: Errand = pickle.loads(sys.stdin.buffer.read(length))  # the writer's
    threading.Thread(target=_end_with_writer, name="writer-watch", daemon=True).start()
    gc.freeze()
    gc.set_threshold(100_000, 10, 10)  # what is read makes no cycles worth finding often
    try:
        uvloop.run(_run(errand))
    except (ChainError, BrokenPipeError, ConnectionResetError):
        return GAVE_UP
    return 0


def _end_with_writer() -> None:
    """The kernel closes our standard input when the writer goes, however it does."""
    os.read(0, 1)
    os._exit(GAVE_UP)


async def _run(errand: Errand) -> None:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, sys.stdout
    )
    out = asyncio.StreamWriter(transport, protocol, None, loop)
    async with contextlib.AsyncExitStack() as opened:
        opened.callback(out.close)
        node = await Providers.open(
            errand.urls, errand.deployment, errand.confirmations, tell=_tell
        )
        opened.push_async_callback(node.close)
        cache = None
        if errand.log_cache is not None:
            cache = LogCache(errand.log_cache, errand.deployment, _tell)
        watch = Watch(errand.deployment, errand.markets)
        reader = Reader(errand.deployment, errand.markets)
        tokens = Tokens(node, errand.deployment)
        past = advances(node, watch, tokens, errand.start, errand.final, cache)
        async for steps in past:
            for some in _pieces(steps):
                out.write(_framed([reader.read_past(step) for step in some]))
                await out.drain()


def _pieces(steps: Sequence[Advance]) -> Iterator[Sequence[Advance]]:
    """A range in pieces: what is at work at once should fit into the processors' caches."""
    first = logs = 0
    for last, step in enumerate(steps, 1):
        logs += len(step.logs)
        if logs >= FRAME_LOGS or last == len(steps):
            yield steps[first:last]
            first, logs = last, 0


def _tell(sentence: str) -> None:
    print(f"tidebook: {sentence}", file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
