"""THE LOOP: what the product does, on one page.

    what happened   ->   what it does to the state   ->   one transaction: rows, outbox, cursor

Whatever goes wrong ends this life of the writer; the next one loads the last committed cursor and
goes on. Whether there is one at once, or only when somebody starts it, tidebook/lives.py decides.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Protocol, assert_never

import msgspec

from indexer import wire
from indexer.chain.errors import BadAnswer, BlockGone, ReorgTooDeep, RpcError
from indexer.chain.source import Source
from indexer.chain.steps import surviving
from indexer.decode import created_markets, decode, select
from indexer.domain.block import BlockRef
from indexer.domain.canon import Canon
from indexer.domain.change import Applied, Change
from indexer.domain.events import AnyEvent
from indexer.domain.step import Advance, Finalize, Rollback, Step
from indexer.mirror.fold import Mirror
from indexer.mirror.memory import Memory
from indexer.store.past import Part, Past
from indexer.store.writer import Store

Told = list[tuple[Step, Sequence[AnyEvent]]]
"""Steps, and the events of each."""

PATIENCE_S = 60.0
"""How long a node may keep us from the next commit by what it says."""
PAUSE_S = 1.0
"""Before what it says is heard again."""


class Steps(Protocol):
    """Where steps come from: a node (chain/steps.py) or a recording (chain/recording.py)."""

    @property
    def node_head(self) -> int:
        """The newest height the source has told of."""

    def batches(self) -> AsyncIterator[Sequence[Step]]:
        """Steps that may share a transaction. Canon has taken them when they are yielded."""


class Progress(Protocol):
    """Told after each commit: canon as of it, and how many blocks and events it added."""

    def __call__(self, canon: Canon, blocks: int, events: int, node_head: int) -> None: ...


async def follow(
    store: Store,
    source: Callable[[Canon, Mirror], Steps],
    progress: Progress = lambda canon, blocks, events, node_head: None,
) -> None:
    """Follow a source until it ends. Raises what the source, the fold or the store raise."""
    canon, mirror = await store.load()
    memory = Memory(mirror)
    steps = source(canon, mirror)
    live = store.live
    async with Past(store, progress) as past:
        async for batch in steps.batches():
            if all(map(_is_past, batch)):
                if past.anchor is not None:
                    memory.forget(past.anchor)
                told = read(mirror, batch)
                await past.recall(memory, *_asked(told))
                folded = await _fold(mirror, memory, told)
                checkpoint = store.checkpoint(mirror, canon)
                await past.take(Part(folded, canon.copy(), steps.node_head, checkpoint))
                live = False
                continue
            await past.finish()
            async with store.transaction() as tx:
                for run in runs(batch):
                    told = read(mirror, run)
                    await tx.recall(memory, *_asked(told))
                    for step, events in told:
                        if not live and not _is_past(step):
                            tx.enqueue(wire.snapshot(_depth(mirror), mirror.head))
                            live = True
                        change = advance(mirror, step, events)
                        memory.note(change)
                        await tx.record(step, change)
                        if not _is_past(step):
                            tx.enqueue(wire.encode(change, mirror.head))
                        else:
                            live = False
                await tx.move_cursor(canon, node_head=steps.node_head, live=live)
                await tx.save(store.checkpoint(mirror, canon))
            if canon.anchor is not None:
                memory.forget(canon.anchor)
            added = [step for step in batch if isinstance(step, Advance)]
            progress(canon, len(added), sum(len(a.logs) for a in added), steps.node_head)


async def _fold(mirror: Mirror, memory: Memory, told: Told) -> list[tuple[Advance, Applied]]:
    """Fold finalized blocks, and let others run between two: the part before is being written."""
    folded = []
    for step, events in told:
        change = advance(mirror, step, events)
        memory.note(change)
        assert isinstance(step, Advance), f"{step} is not of the past"
        assert isinstance(change, Applied), f"{step} applied nothing"
        folded.append((step, change))
        await asyncio.sleep(0)
    return folded


async def follow_whatever_comes(
    store: Store,
    node: Source,
    source: Callable[[Canon, Mirror], Steps],
    progress: Progress,
    say: Callable[[str], None],
) -> None:
    """Follow a node, also when it goes back below what it had called final.

    Then the store goes back to the newest ground that the node still has, says so, and everything
    above is indexed anew. A node that is merely below our anchor may only be late: it is waited
    for, and nothing is taken back. ReorgTooDeep is raised where nothing of ours is left, for that
    is another chain.

    What contradicts itself may be a node in the middle of a reorg: the loop begins again at the
    last commit, and raises the error only if none follows for PATIENCE_S.
    """
    clock = asyncio.get_running_loop().time
    since: float | None = None
    words = ""

    def told(canon: Canon, blocks: int, events: int, node_head: int) -> None:
        nonlocal since
        since = None
        progress(canon, blocks, events, node_head)

    while True:
        before = words
        try:
            try:
                return await follow(store, source, told)
            except ReorgTooDeep as error:
                words = await _take_back(store, node, error)
                since = None
        except (BadAnswer, BlockGone, RpcError) as error:
            since = clock() if since is None else since
            if clock() - since >= PATIENCE_S:
                raise
            words = f"{error}; from the last commit on again"
            await asyncio.sleep(PAUSE_S)
        if words != before:
            say(words)


async def _take_back(store: Store, node: Source, error: ReorgTooDeep) -> str:
    """Go back to solid ground, or see that the node may only be late; what to say of it.

    Raises `error` where there is no ground.
    """
    head, anchor = error.head, error.anchor
    if await node.by_number(anchor.number) is None and not await _has_left(store, node, head):
        await asyncio.sleep(PAUSE_S)
        return f"the node is at {head}, below block {anchor.ref}, which was final: waiting for it"
    grounds = await store.grounds()
    if not grounds:
        return f"{head} does not descend from {anchor.ref}, which nobody was told of: begun again"
    ground = await surviving(node, grounds)
    if ground is None:
        raise error
    depth = await store.restart(ground)
    return (
        f"the chain went back below what was final: {head} does not descend from {anchor.ref}. "
        f"{depth:,} blocks are taken back, to {ground}, and indexed anew; the streams begin a new "
        "epoch"
    )


async def _has_left(store: Store, node: Source, head: BlockRef) -> bool:
    """Whether the node has another block at a height where we keep one, up to its head."""
    kept = await store.newest_block(head.number)
    theirs = None if kept is None else await node.by_number(kept.number)
    return theirs is not None and kept is not None and theirs.hash != kept.hash


def runs(batch: Sequence[Step]) -> Iterator[list[Step]]:
    """Blocks that follow each other together, any other step by itself."""
    run: list[Step] = []
    for step in batch:
        if run and not (isinstance(step, Advance) and isinstance(run[-1], Advance)):
            yield run
            run = []
        run.append(step)
    if run:
        yield run


def read(mirror: Mirror, run: Sequence[Step]) -> Told:
    """What each step tells: a block only with logs of contracts that are ours on its branch."""
    markets = set(mirror.books)
    told: Told = []
    for step in run:
        if isinstance(step, Advance):
            logs = select(step.logs, mirror.deployment, markets)
            markets |= created_markets(logs, mirror.deployment)
            step = msgspec.structs.replace(step, logs=tuple(logs))
            told.append((step, decode(step.block, logs)))
        else:
            told.append((step, ()))
    return told


def advance(mirror: Mirror, step: Step, events: Sequence[AnyEvent]) -> Change:
    """What one step does to the state. Pure: a function of the mirror and the step."""
    match step:
        case Advance(block=block, tokens=tokens):
            return mirror.apply(block, events, tokens, final=step.finality == "finalized")
        case Rollback(ancestor=ancestor):
            return mirror.rewind(ancestor)
        case Finalize(block=block, finality=finality):
            return mirror.settle(block, finality)
        case _:
            assert_never(step)


def _asked(told: Told) -> tuple[list[AnyEvent], int]:
    """What the mirror must be ready for: events, and from which block on."""
    first, _ = told[0]
    number = first.block.number if isinstance(first, Advance) else 0
    return [event for _, events in told for event in events], number


def _is_past(step: Step) -> bool:
    """A backfilled block: nobody is told of it, a snapshot follows."""
    return isinstance(step, Advance) and step.finality == "finalized"


def _depth(mirror: Mirror) -> wire.Books:
    return [(book.market, book.depth("buy"), book.depth("sell")) for book in mirror.books.values()]
