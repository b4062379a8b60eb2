"""One transaction of the writer's: steps on their way into the tables and the outbox."""

from collections.abc import Iterable, Sequence
from typing import Any, assert_never

import msgspec

from indexer.bundle import bundles
from indexer.domain.block import Block, BlockRef
from indexer.domain.canon import Canon
from indexer.domain.change import Applied, Change, Deltas, Rewound, Settled
from indexer.domain.events import AnyEvent
from indexer.domain.logs import pack
from indexer.domain.step import Advance, Step
from indexer.domain.units import Hash
from indexer.mirror.memory import Memory
from indexer.store import recall, tables
from indexer.store.batch import CURRENT, Batch
from indexer.store.checkpoints import Checkpoints, Row
from indexer.store.copy import Lines
from indexer.store.database import Database
from indexer.store.page import LastPage, Page
from indexer.wire import Draft, Numbered, Numbering

OUTBOX_KEEP_BLOCKS = 50_000
"""Finalized blocks whose messages stay for clients that resume; older ones get a snapshot."""

LINKS_EVERY_MESSAGES = 2_000
"""After so many messages the newest of each channel are saved, once a block becomes final; after
twice as many in any case. Who looks for a channel reads those since, a thousand in 0.08 ms."""


class Tally(msgspec.Struct):
    """How many events were ever written, retracted ones included."""

    events: int


class Transaction:
    """Steps on their way into the database."""

    def __init__(
        self, database: Database, numbering: Numbering, checkpoints: Checkpoints, tally: Tally
    ) -> None:
        self._tally = tally
        self._database = database
        self._checkpoints = checkpoints
        self._numbering = numbering
        self._batch = Batch()
        self._blocks = Lines(tables.blocks)
        """Headers of the past."""
        self._outbox: list[Numbered] = []

    def receive(self, steps: Iterable[Step]) -> None:
        """What is known of blocks before they are folded: that they are there, and their logs."""
        for step in steps:
            if isinstance(step, Advance):
                self._batch.receive(step.block, pack(step.block, step.logs), step.finality)
                self._count(len(step.logs))

    async def record(self, step: Step, change: Change) -> None:
        """The rows of one step that was received."""
        match change:
            case Applied():
                self._batch.add(change, undo=True)
            case Rewound():
                await self._flush_all()
                await self._rewind(change)
            case Settled():
                await self._flush_all()
                await self._settle(change)
            case _:
                assert_never(change)

    async def write(self, page: Page) -> None:
        """Finalized blocks: facts are sent, headers wait for more."""
        self._count(page.logs.events)
        self._blocks.extend(page.blocks)
        await self._database.append(tables.logs, page.logs)
        for table, lines in page.facts.items():
            await self._database.append(table, lines)

    async def write_last(self, page: LastPage) -> None:
        """The records of all blocks written."""
        if page.gone:
            await self._database.delete(tables.levels, page.gone)
        if page.placed:
            await self._database.append(tables.orders, page.placed)
        for table, lines in page.changed.items():
            if lines:
                await self._database.upsert(table, lines)

    async def recall(self, memory: Memory, events: Sequence[AnyEvent], number: int) -> None:
        """Bring back what the mirror has forgotten and `events`, of block `number` on, name."""
        if came := await recall.recall(self._database, memory, events):
            await self._database.upsert(tables.recalled, recall.rows(came, number))

    def enqueue(self, drafts: Iterable[Draft]) -> None:
        """Number messages and put them into the outbox."""
        self._outbox += self._numbering.number(drafts)

    async def move_cursor(self, canon: Canon, *, node_head: int, live: bool) -> None:
        """Where the next start begins. `node_head` is the newest height the node has told."""
        await self._save_links(2 * LINKS_EVERY_MESSAGES)
        head, anchor = canon.head, canon.anchor
        await self._database.move_cursor(
            {
                "epoch": self._numbering.epoch,
                "seq": self._numbering.seq,
                "linked_seq": self._numbering.linked_seq,
                "block_number": head and head.number,
                "block_hash": head and head.hash,
                "finalized_number": anchor and anchor.number,
                "safe_number": canon.safe and canon.safe.number,
                "head_number": node_head,
                "live": live,
                "events": self._tally.events,
            }
        )

    async def save(self, checkpoint: Row | None) -> None:
        """Save a checkpoint, if there is one."""
        if checkpoint is not None:
            await self._checkpoints.save(checkpoint)

    async def put_back(self, deltas: Deltas, rollback: "RollbackRow") -> None:
        """Current state anew, and word of why."""
        self._batch.set(deltas)
        await self._database.append(tables.rollbacks, [rollback])

    async def flush(self) -> None:
        """Send everything gathered; called by Store.transaction before it commits."""
        await self._flush_all()
        if self._outbox:
            await self._database.append(tables.outbox, list(bundles(self._outbox)))
            await self._database.notify()

    def _count(self, events: int) -> None:
        self._checkpoints.count(events)
        self._tally.events += events

    # -- the three kinds of change ------------------------------------------------------------

    async def _rewind(self, change: Rewound) -> None:
        """Facts of retracted blocks go, records get their old images, the blocks stay retracted."""
        if not change.retracted:
            return
        ancestor, head = change.ancestor, change.retracted[0].block
        for fact in Batch().facts():
            await self._database.delete_above(fact, ancestor.number)
        await self._database.retract_blocks(ancestor.number)
        for applied in change.retracted:  # newest first: the oldest image is the last set
            self._batch.set(applied.deltas.inverse())
        row = RollbackRow.of(ancestor, head.ref, change.depth)
        await self._database.append(tables.rollbacks, [row])
        await self._flush_all()

    async def _settle(self, change: Settled) -> None:
        number = change.block.number
        await self._database.promote_blocks(number, change.finality)
        if change.finality != "finalized":
            return
        await self._database.delete_below(tables.undo, number + 1)
        await self._save_links(LINKS_EVERY_MESSAGES)
        await self._database.trim_outbox(number - OUTBOX_KEEP_BLOCKS)

    async def _save_links(self, every: int) -> None:
        """Save the newest of each channel, after so many messages: the outbox has them until then.

        Where a block becomes final nobody waits for it.
        """
        numbering = self._numbering
        seq, linked = numbering.seq, numbering.linked_seq
        if seq - linked >= every:
            channels = numbering.channels.items()
            await self._database.set_links({name: at for name, at in channels if at > linked})
            numbering.linked_seq = seq

    # -- rows -----------------------------------------------------------------------------------

    async def flush_facts(self) -> None:
        """Send the facts gathered, and work on: records wait, for later blocks may touch them."""
        if await self._gather_facts():
            await self._database.forward()

    async def flush_rows(self) -> None:
        """Send facts and records: no block comes that may touch them."""
        facts, records = await self._gather_facts(), await self._gather_records()
        if facts or records:
            await self._database.forward()

    async def _gather_facts(self) -> bool:
        """Whether there are any."""
        batch = self._batch
        if self._blocks:
            await self._database.upsert(tables.blocks, self._blocks)
            self._blocks = Lines(tables.blocks)
        if batch.blocks:
            await self._database.upsert(tables.blocks, batch.blocks)
            batch.blocks.clear()
        found = batch.facts().items()
        facts = [(table, rows) for table, rows in found if rows and table is not tables.undo]
        for table, rows in facts:
            await self._database.append(table, rows)
            rows.clear()
        return bool(facts)

    async def _gather_records(self) -> bool:
        """Whether there are any. They go by key, so that neighbours share pages of the index."""
        touched = [
            (CURRENT[kind], images) for kind, images in self._batch.current.items() if images
        ]
        for table, images in touched:
            ordered = sorted(images)
            gone = [key for key in ordered if images[key] is None]
            kept: list[Any] = [image for key in ordered if (image := images[key]) is not None]
            if gone:
                await self._database.delete(table, gone)
            if kept:
                await self._database.upsert(table, kept)
            images.clear()
        return bool(touched)

    async def _flush_all(self) -> None:
        await self.flush_rows()
        if self._batch.undo:  # packed while Postgres has the records
            await self._database.append(tables.undo, self._batch.undo)
        self._batch.clear()


class RollbackRow(msgspec.Struct):
    """One line of reorg history."""

    ancestor_number: int
    ancestor_hash: Hash
    head_number: int
    head_hash: Hash
    depth: int

    @classmethod
    def of(cls, ancestor: Block | BlockRef, head: Block | BlockRef, depth: int) -> "RollbackRow":
        return cls(ancestor.number, ancestor.hash, head.number, head.hash, depth)
