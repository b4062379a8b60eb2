"""Checkpoints at the head: packed a slice at a time while nobody waits, and saved behind a block.

A state of 100,000 orders takes a tenth of a second to pack, which one block used to pay. What is
packed is the state at one final block, whatever the mirror does meanwhile (mirror/settled.py); it
reaches the tables in one transaction of its own, or never: nothing depends on it.
"""

import asyncio
import contextlib
from types import TracebackType

from indexer.domain.canon import Canon
from indexer.mirror.fold import Mirror
from indexer.store.checkpoints import Packing
from indexer.store.writer import Store

PAUSE_S = 0.005
"""Between two slices: ten times what one takes, so that a block hardly ever comes upon one."""
LATEST_S = 10.0
"""How long the next commit is waited for, to save right behind it: a chain may stand still."""


class Behind:
    """Saves checkpoints in the background. Left without an error, it first saves what it began."""

    def __init__(self, store: Store, mirror: Mirror) -> None:
        self._store = store
        self._mirror = mirror
        self._saving: asyncio.Task[None] | None = None
        self._committed = asyncio.Event()
        self._is_hurried = False

    def look(self, canon: Canon) -> None:
        """After a commit: begin a checkpoint if one is due. Raises what the one before did."""
        if self._saving is not None:
            if not self._saving.done():
                self._committed.set()
                return
            self._saving.result()
            self._saving = None
        state = self._store.due(self._mirror, canon)
        if state is not None:
            self._saving = asyncio.create_task(self._save(Packing(state)))

    async def _save(self, packing: Packing) -> None:
        """Never in the middle of a transaction: a block in one is what somebody waits for.

        Saving takes as long as a block or two does, so it begins when the next is furthest.
        """
        while True:
            async with self._store.turn:
                if packing.is_lost:
                    return
                if not packing.step():
                    break
            await asyncio.sleep(0.0 if self._is_hurried else PAUSE_S)
        if not self._is_hurried:
            self._committed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LATEST_S):
                    await self._committed.wait()
        async with self._store.transaction() as tx:
            await tx.save(packing.row())

    async def finish(self) -> None:
        """Save what was begun, if anything was, without waiting for a good moment."""
        if self._saving is not None:
            self._is_hurried = True
            self._committed.set()
            await self._saving
            self._is_hurried = False

    async def __aenter__(self) -> "Behind":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                await self.finish()
        finally:
            if self._saving is not None:
                self._saving.cancel()
                await asyncio.gather(self._saving, return_exceptions=True)
