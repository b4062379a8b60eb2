"""The finalized past on its way into the database: one part is written while the next is folded.

Several parts make a transaction, which carries the cursor: whatever ends the process costs at most
COMMIT_EVENTS events, and a start goes on after them. Facts are sent part by part; of the records,
which most parts touch again, only what a transaction leaves of them. So which part is its last is
decided where parts are folded: the mirror must not be further by then.

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
from indexer.domain.events import AnyEvent
from indexer.mirror.memory import Memory
from indexer.store.checkpoints import Row
from indexer.store.page import LastPage, Page
from indexer.store.transaction import Transaction
from indexer.store.writer import Store

COMMIT_EVENTS = 50_000
"""Events of a transaction at most, and a part."""
COMMIT_S = 2.0
"""Age at which a transaction is committed with fewer, also if the source is slow."""

PAGE_EVENTS = 12_500
"""Events worth sending: a COPY for each table takes some turns of a loop that the fold shares."""
COMMITS_BETWEEN_COLLECTIONS = 10
"""A million events make few cycles; looking for them costs what is alive."""
PARTS_AHEAD = 2
"""Folded parts that may wait while one is written: a commit keeps nobody from folding on."""

Told = Callable[[Canon, int, int, int], None]
"""Told after each commit: canon as of it, its blocks, its events, and the node's head."""


class Part(msgspec.Struct, frozen=True):
    """Some finalized blocks, with canon and the node's head as of the last."""

    page: Page
    canon: Canon
    node_head: int
    checkpoint: Row | None = None
    last: LastPage | None = None
    """Of the last part of a transaction: what all of its blocks left of the records."""


class Past:
    """Writes parts in order, in the background. Leaving it commits what was taken and is whole."""

    def __init__(self, store: Store, memory: Memory, told: Told) -> None:
        self._store = store
        self._memory = memory
        self._told = told
        self._parts: asyncio.Queue[Part] = asyncio.Queue(PARTS_AHEAD)
        self._writing: asyncio.Task[None] | None = None
        self._open: AsyncExitStack | None = None
        self._transaction: Transaction | None = None
        self._gathered: Part | None = None
        """Parts too small to be sent by themselves."""
        self._newest: Part | None = None
        """The newest part taken, if it is not to be committed yet."""
        self._first = self._taken = 0
        """Since the last part of a transaction: the first block taken, and how many events."""
        self._began = 0.0
        """When that was."""
        self._is_folding = False
        """The mirror is further than the parts taken."""
        self._turn = asyncio.Lock()
        """Held by whoever uses the transaction."""
        self._blocks = self._events = 0
        """What it has so far."""
        self._commits = 0
        self._at_work = False
        self._failure: BaseException | None = None
        """What the store did: what is open is not to be committed."""
        self.anchor: Block | None = None
        """The last block that is committed."""

    async def take(self, part: Part) -> None:
        """Have a part written, with those that follow if it is small.

        Waits while PARTS_AHEAD others are. Raises what any of them did.
        """
        if not self._at_work:
            self._at_work = True
            gc.disable()
            await self._store.begin_past(part.canon, part.node_head)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        now = asyncio.get_running_loop().time()
        if self._newest is None:
            self._first, self._taken, self._began = part.page.first or 0, 0, now
        self._newest = part
        self._taken += part.page.logs.events
        if self._gathered is None:
            self._gathered = part
        else:
            page = self._gathered.page
            page.extend(part.page)
            self._gathered = msgspec.structs.replace(part, page=page)
        if self._taken >= COMMIT_EVENTS or now >= self._began + COMMIT_S:
            await self._parts.put(self._last())
        elif part.checkpoint is not None or self._gathered.page.logs.events >= PAGE_EVENTS:
            await self._parts.put(self._gather())
        self._is_folding = False
        self._require_well()

    def _gather(self) -> Part:
        """What was gathered, which is no more."""
        part, self._gathered = self._gathered, None
        assert part is not None, "nothing was gathered"
        return part

    def _last(self) -> Part:
        """The last part of a transaction: what was gathered, if anything was."""
        newest, self._newest = self._newest, None
        assert newest is not None, "nothing to commit"
        last = LastPage(self._memory.take_unsaved(), self._first)
        if self._gathered is not None:
            return msgspec.structs.replace(self._gather(), last=last)
        return Part(Page(), newest.canon, newest.node_head, last=last)

    async def begin_part(self, events: Sequence[AnyEvent], number: int) -> None:
        """Before a part is folded: bring back what `events`, of block `number` on, name.

        Waits only if something is named that the mirror has forgotten, which is what it may.
        """
        memory = self._memory
        if self.anchor is not None:
            memory.forget(self.anchor)
        if memory.lacks(events):
            await self._written()
            async with self._turn:
                with self._noting_failure():
                    await (await self._begin()).recall(memory, events, number)
        self._is_folding = True

    async def finish(self) -> None:
        """Commit all that was taken; then readers get the indexes that a first sync kept back."""
        await self._save()
        await self._store.end_past()

    async def _save(self) -> None:
        """Commit all that was taken."""
        if self._newest is not None:
            await self._parts.put(self._last())
        await self._written()
        self._at_work = False
        gc.enable()

    async def _written(self) -> None:
        """Wait until all parts are written, if not committed."""
        if self._gathered is not None:
            await self._parts.put(self._gather())
        await self._parts.join()
        self._require_well()

    def _require_well(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def _write(self) -> None:
        """Write part after part. Behind a failure they are only counted: nobody waits in vain."""
        while True:
            part = await self._next()
            try:
                if self._failure is None:
                    async with self._turn:
                        await self._send(part)
            except BaseException as failure:
                self._failure = failure
                if not isinstance(failure, Exception):  # we are at our end, and so is the process
                    while not self._parts.empty():
                        self._parts.get_nowait()
                        self._parts.task_done()
                    raise
            finally:
                self._parts.task_done()

    async def _next(self) -> Part:
        """The next part. If the source is slow, what was taken is committed without any more."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(COMMIT_S):
                    return await self._parts.get()
            if self._newest is not None and self._failure is None and not self._is_folding:
                self._parts.put_nowait(self._last())

    async def _send(self, part: Part) -> None:
        with self._noting_failure():
            transaction = await self._begin()
            self._blocks += len(part.page.blocks)
            self._events += part.page.logs.events
            await transaction.write(part.page)
            await transaction.save(part.checkpoint)
            if part.last is not None:
                await transaction.write_last(part.last)
                await self._commit(part)

    async def _begin(self) -> Transaction:
        """The open transaction; a new one, if there is none."""
        if self._transaction is None:
            self._open = AsyncExitStack()
            self._transaction = await self._open.enter_async_context(self._store.transaction())
        return self._transaction

    async def _commit(self, last: Part) -> None:
        assert self._transaction is not None, "nothing to commit"
        assert self._open is not None, "a transaction that nobody opened"
        with self._noting_failure():
            canon = last.canon
            await self._transaction.move_cursor(canon, node_head=last.node_head, live=False)
            await self._open.aclose()
        self.anchor = canon.anchor
        self._told(canon, self._blocks, self._events, last.node_head)
        self._open = self._transaction = None
        self._blocks = self._events = 0
        self._commits += 1
        if self._commits % COMMITS_BETWEEN_COLLECTIONS == 0:
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
            elif isinstance(error, Exception) and self._failure is None and not self._is_folding:
                await self._save()  # a source that ends badly: what it told before is sound
        finally:
            await self._abandon(error)

    @contextlib.contextmanager
    def _noting_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException as failure:
            self._failure = failure
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
