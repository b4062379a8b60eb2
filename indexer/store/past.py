"""The finalized past on its way into the database: one part is written while the next is folded.

Several parts make a transaction, which carries the cursor: whatever ends the process costs at most
COMMIT_EVENTS events, and a start goes on after them. Facts are sent part by part; of the records,
which most parts touch again, only what a transaction leaves of them.

While it is at work the garbage collector is not: the past makes no cycles worth finding, and
looking for them among the records of a whole chain costs a sixth of the time.
"""

import asyncio
import contextlib
import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from types import TracebackType

import msgspec

from indexer.domain.block import Block
from indexer.domain.canon import Canon
from indexer.domain.change import Applied
from indexer.domain.events import AnyEvent
from indexer.domain.step import Read
from indexer.mirror.memory import Memory
from indexer.store.checkpoints import Row
from indexer.store.writer import Store, Transaction

COMMIT_EVENTS = 50_000
"""Events of a transaction at most, and a part."""
COMMIT_S = 2.0
"""Age at which a transaction is committed with fewer, also if the source is slow."""

Told = Callable[[Canon, int, int, int], None]
"""Told after each commit: canon as of it, its blocks, its events, and the node's head."""


class Part(msgspec.Struct, frozen=True):
    """Some finalized blocks and what they did, with canon and the node's head as of the last."""

    blocks: Sequence[tuple[Read, Applied]]
    canon: Canon
    node_head: int
    checkpoint: Row | None = None


class Past:
    """Writes parts in order, in the background. Leaving it commits what was taken and is whole."""

    def __init__(self, store: Store, told: Told) -> None:
        self._store = store
        self._told = told
        self._writing: asyncio.Task[None] | None = None
        self._open: AsyncExitStack | None = None
        self._transaction: Transaction | None = None
        self._blocks = self._events = 0
        self._began = 0.0
        self._last: Part | None = None
        self.anchor: Block | None = None
        """The last block that is committed."""
        self._failed = False
        """The store did: what is open is not to be committed."""
        self._called = asyncio.Event()
        """Somebody waits for the part that is being written."""

    async def recall(self, memory: Memory, events: Sequence[AnyEvent], number: int) -> None:
        """Bring back what `events`, of block `number` on, name. Waits only if something is."""
        if memory.lacks(events):
            await self._written()
            with self._noting_failure():
                await (await self._begin()).recall(memory, events, number)

    async def take(self, part: Part) -> None:
        """Begin to write a part, once the one before it is written. Raises what that raised."""
        if self._last is None:
            gc.disable()
            await self._store.begin_past(part.canon, part.node_head)
        await self._written()
        self._last = part
        self._writing = asyncio.create_task(self._write(part))

    async def finish(self) -> None:
        """Commit all that was taken; then readers get the indexes that a first sync kept back."""
        await self._save()
        await self._store.end_past()

    async def _save(self) -> None:
        """Commit all that was taken."""
        await self._written()
        if self._transaction is not None:
            await self._commit()
        self._last = None
        gc.enable()

    async def _written(self) -> None:
        if self._writing is not None:
            self._called.set()
            await self._writing
            self._called.clear()
            self._writing = None

    async def _write(self, part: Part) -> None:
        with self._noting_failure():
            await self._send(part)

    async def _send(self, part: Part) -> None:
        clock = asyncio.get_running_loop().time
        transaction = await self._begin()
        for read, applied in part.blocks:
            await transaction.record(read, applied)
            self._events += len(read.events)
        self._blocks += len(part.blocks)
        await transaction.flush_facts()
        if part.checkpoint is not None:
            await transaction.save(part.checkpoint)
        if self._events < COMMIT_EVENTS and clock() < self._began + COMMIT_S:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._began + COMMIT_S):
                    await self._called.wait()
                    return
        await self._commit()

    async def _begin(self) -> Transaction:
        """The open transaction; a new one, if there is none."""
        if self._transaction is None:
            self._open = AsyncExitStack()
            self._transaction = await self._open.enter_async_context(self._store.transaction())
            self._began = asyncio.get_running_loop().time()
        return self._transaction

    async def _commit(self) -> None:
        assert self._transaction is not None, "nothing to commit"
        assert self._last is not None, "nothing was taken"
        assert self._open is not None, "a transaction that nobody opened"
        canon = self._last.canon
        with self._noting_failure():
            await self._transaction.move_cursor(canon, node_head=self._last.node_head, live=False)
            await self._open.aclose()
        self.anchor = canon.anchor
        self._told(canon, self._blocks, self._events, self._last.node_head)
        self._open = self._transaction = None
        self._blocks = self._events = 0
        gc.collect(0)

    async def __aenter__(self) -> "Past":
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
            elif isinstance(error, Exception) and not self._failed:
                await self._save()  # a source that ends badly: what it told before is sound
        finally:
            await self._abandon(error)

    @contextlib.contextmanager
    def _noting_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._failed = True
            raise

    async def _abandon(self, error: BaseException | None) -> None:
        """Roll back what is not committed."""
        gc.enable()
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        if self._open is not None:
            cause = error or asyncio.CancelledError()
            await self._open.__aexit__(type(cause), cause, cause.__traceback__)
            self._open = None
