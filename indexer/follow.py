"""THE LOOP: what the product does, on one page.

    what happened   ->   what it does to the state   ->   one transaction: rows, outbox, cursor

Whatever goes wrong ends this life of the writer; the next one loads the last committed cursor and
goes on. Whether there is one at once, or only when somebody starts it, indexer/ground.py and
tidebook/lives.py decide.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Protocol, assert_never

from indexer import wire
from indexer.domain.canon import Canon
from indexer.domain.change import Applied, Change
from indexer.domain.events import AnyEvent
from indexer.domain.step import Advance, Finalize, Read, Rollback, Step
from indexer.mirror.fold import Mirror
from indexer.mirror.memory import Memory
from indexer.reading import Reader
from indexer.store.behind import Behind
from indexer.store.page import Page
from indexer.store.past import Part, Past
from indexer.store.writer import Store

EVENTS_A_TURN = 50
"""Events of the past between two turns of the loop, a third of a millisecond; a block is one more.

Sending takes many turns: with longer ones Postgres waits for the fold."""

Told = list[tuple[Step, Sequence[AnyEvent]]]
"""Steps, and the events of each."""


class Steps(Protocol):
    """Where steps come from: a node (chain/steps.py) or a recording (chain/recording.py)."""

    @property
    def node_head(self) -> int:
        """The newest height the source has told of."""

    def batches(self) -> AsyncIterator[Sequence[Step]]:
        """Steps that may share a transaction. Canon has taken them when they are yielded.

        No steps: the past ends here, and what comes next may take a while.
        """


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
    async with Behind(store, mirror) as behind, Past(store, memory, progress) as past:
        async for batch in steps.batches():
            if not batch:
                await past.finish()
                continue
            if _is_past(batch):
                told = read(mirror, batch)
                await past.begin_part(*_named(told))
                page = await fold_past(mirror, memory, told)
                checkpoint = store.checkpoint(mirror, canon)
                await past.take(Part(page, canon.copy(), steps.node_head, checkpoint))
                live = False  # nobody was told of it: a snapshot follows
                continue
            await past.finish()
            async with store.transaction() as tx:
                if not live:
                    tx.enqueue(wire.snapshot(_depth(mirror), mirror.head))
                    live = True
                for run in runs(batch):
                    told = read(mirror, run)
                    tx.receive(step for step, _ in told)
                    await tx.flush_facts()
                    await tx.recall(memory, *_named(told))
                    last = told[-1][0] if run[-1] is batch[-1] else None
                    for step, change in fold(mirror, memory, told):
                        await tx.record(step, change)
                        await (tx.flush_rows() if step is last else tx.flush_facts())
                        tx.enqueue(wire.encode(change, mirror.head))
                await tx.move_cursor(canon, node_head=steps.node_head, live=live)
            behind.look(canon)
            if canon.anchor is not None:
                memory.forget(canon.anchor)
            added = [step for step in batch if isinstance(step, Advance)]
            progress(canon, len(added), sum(len(a.logs) for a in added), steps.node_head)


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
    reader = Reader(mirror.deployment, mirror.books)
    told: Told = []
    for step in run:
        match step:
            case Advance(finality="finalized"):
                past = reader.read_past(step)
                told.append((past, past.events))
            case Advance():
                told.append(reader.read(step))
            case Read(events=events):
                told.append((step, events))
            case _:
                told.append((step, ()))
    return told


def fold(mirror: Mirror, memory: Memory, told: Told) -> Iterator[tuple[Step, Change]]:
    """What steps do to the state, one by one."""
    for step, events in told:
        change = advance(mirror, step, events)
        memory.note(change)
        yield step, change


async def fold_past(mirror: Mirror, memory: Memory, told: Told) -> Page:
    """Fold finalized blocks, and let others run now and then: the page before is being written."""
    page, seen = Page(), 0
    for step, change in fold(mirror, memory, told):
        assert isinstance(step, Read), f"{step} is not of the past"
        assert isinstance(change, Applied), f"{step} applied nothing"
        page.add(step, change)
        seen += 1 + len(step.events)
        if seen >= EVENTS_A_TURN:
            seen = 0
            await asyncio.sleep(0)
    return page


def advance(mirror: Mirror, step: Step, events: Sequence[AnyEvent]) -> Change:
    """What one step does to the state. Pure: a function of the mirror and the step."""
    match step:
        case Advance(block=block, tokens=tokens):
            return mirror.apply(block, events, tokens)
        case Read(block=block, tokens=tokens):
            return mirror.apply(block, events, tokens, final=True)
        case Rollback(ancestor=ancestor):
            return mirror.rewind(ancestor)
        case Finalize(block=block, finality=finality):
            return mirror.settle(block, finality)
        case _:
            assert_never(step)


def _named(told: Told) -> tuple[list[AnyEvent], int]:
    """What the mirror must be ready for: events, and from which block on."""
    first, _ = told[0]
    number = first.block.number if isinstance(first, Advance | Read) else 0
    return [event for _, events in told for event in events], number


def _is_past(batch: Sequence[Step]) -> bool:
    """Whether these are backfilled blocks; a batch has no others beside them."""
    past = {
        isinstance(step, Read) or (isinstance(step, Advance) and step.finality == "finalized")
        for step in batch
    }
    assert len(past) == 1, f"past and present in one batch: {batch}"
    return past.pop()


def _depth(mirror: Mirror) -> wire.Books:
    return [(book.market, book.depth("buy"), book.depth("sell")) for book in mirror.books.values()]
