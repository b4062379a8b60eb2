"""The one writer's side of Postgres: load everything once, then one transaction per batch of steps.

The rule that everything else leans on: rows, outbox and cursor move together or not at all. Nothing
here outlives the process, so there is nothing to repair: `load` is the only recovery path.
"""

import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, assert_never

import msgspec

import migrations
from indexer import wire
from indexer.domain.block import Block, BlockRef
from indexer.domain.canon import Canon
from indexer.domain.change import Applied, Change, Deltas, Rewound, Settled
from indexer.domain.deployment import Deployment
from indexer.domain.events import AnyEvent
from indexer.domain.order import CANDLE_SECONDS
from indexer.domain.step import Advance, Step
from indexer.domain.units import Hash
from indexer.mirror.fold import Mirror
from indexer.mirror.memory import Memory
from indexer.store import lock, postgres, recall, tables
from indexer.store.batch import CURRENT, Batch
from indexer.store.checkpoints import EVERY_EVENTS, Checkpoints, Row
from indexer.store.copy import Lines
from indexer.store.database import Database
from indexer.store.errors import SchemaMissing, WrongChain, WrongDeployment
from indexer.store.indexes import Indexes
from indexer.store.load import load_canon, load_mirror
from indexer.store.page import Page
from indexer.store.statements import Postgres
from indexer.wire import Draft, Numbering, OutboxRow

OUTBOX_KEEP_BLOCKS = 50_000
"""Finalized blocks whose messages stay for clients that resume; older ones get a snapshot."""


class Store:
    """The writer's connection. Hold one per chain: `open` waits until no other writer is alive."""

    def __init__(
        self,
        database: Database,
        deployment: Deployment,
        checkpoint_events: int = EVERY_EVENTS,
        new_epoch: Callable[[], str] = lambda: uuid.uuid4().hex[:12],
        say: Callable[[str], None] = lambda words: None,
    ) -> None:
        self._database = database
        self._indexes = Indexes(database, say)
        self._checkpoints = Checkpoints(database, checkpoint_events)
        self._new_epoch = new_epoch
        self._deployment = deployment
        self._numbering = Numbering("", 0, {})
        self._tally = Tally(0)
        self.live = False
        """The streams tell the state at the cursor; false after a backfill, which tells nothing."""

    @property
    def epoch(self) -> str:
        return self._numbering.epoch

    @property
    def seq(self) -> int:
        return self._numbering.seq

    async def load(self) -> tuple[Canon, Mirror]:
        """State at the last committed cursor. A fresh database gets its cursor here."""
        database, deployment = self._database, self._deployment
        async with database.transaction(snapshot=True):
            cursor = await database.cursor()
            if cursor is None:
                cursor = await database.begin_cursor(
                    {
                        "one": True,
                        "chain_id": deployment.chain_id,
                        "deployment": msgspec.json.encode(_identity(deployment)).decode(),
                        "epoch": self._new_epoch(),
                        "seq": 0,
                        "live": False,
                        "events": 0,
                    }
                )
            self._check(cursor["chain_id"], cursor["deployment"])
            await self._indexes.look(is_first=cursor["block_number"] is None)
            channels = await database.read(tables.channels, ("channel", "seq"))
            self._numbering = Numbering(
                cursor["epoch"], cursor["seq"], {row["channel"]: row["seq"] for row in channels}
            )
            self.live = cursor["live"]
            self._tally = Tally(cursor["events"])
            canon = await load_canon(database, cursor["finalized_number"], cursor["safe_number"])
            mirror = await self._checkpoints.start(deployment, canon)
            if mirror is None:
                mirror = await load_mirror(database, deployment, canon)
        return canon, mirror

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["Transaction"]:
        """All that happens inside is committed together, or (on any error) not at all."""
        async with self._database.transaction():
            transaction = Transaction(
                self._database, self._numbering, self._checkpoints, self._tally
            )
            yield transaction
            await transaction.flush()

    async def begin_past(self, canon: Canon, node_head: int) -> None:
        """Much may follow: what a first sync need not keep up to date for it is put off."""
        if canon.anchor is not None:
            await self._indexes.spare(node_head - canon.anchor.number)

    async def end_past(self) -> None:
        """The head follows, or nothing: what was put off is done."""
        await self._indexes.complete()

    def checkpoint(self, mirror: Mirror, canon: Canon) -> Row | None:
        """A checkpoint of the newest final block, if one is due; to be given to `save`."""
        return None if canon.anchor is None else self._checkpoints.due(mirror, canon.anchor)

    async def grounds(self) -> list[BlockRef]:
        """Where the store can go back to from below *finalized*, newest first.

        Blocks with a good checkpoint; last the first block of all, where nothing had happened yet.
        """
        first = await self._database.first_block()
        return [*await self._checkpoints.refs(), *([] if first is None else [first])]

    async def newest_block(self, at_most: int) -> BlockRef | None:
        """The highest canonical block that is kept up to a height."""
        return await self._database.newest_block(at_most)

    async def restart(self, ground: BlockRef) -> int:
        """Go back to one of `grounds`, in one transaction; returns how many blocks that was.

        What was told about them cannot be taken back message by message any more, so the streams
        begin a new epoch; seq counts on. `load` must follow.
        """
        database = self._database
        async with database.transaction():
            cursor = await database.cursor()
            assert cursor is not None, "restarted before begun"
            deltas = await self._checkpoints.state(ground)
            stored = await database.canonical_blocks(Block.__struct_fields__, ground.number)
            block, head = Block(**stored[0]), Block(**stored[-1])
            assert block.hash == ground.hash, f"{ground} is not canonical"
            await self._drop_above(block)
            numbering = Numbering(self._new_epoch(), cursor["seq"], {})
            tally = Tally(cursor["events"])
            transaction = Transaction(database, numbering, self._checkpoints, tally)
            depth = head.number - block.number
            await transaction.put_back(deltas, RollbackRow.of(block, head, depth))
            transaction.enqueue(wire.restarted(block, depth))
            canon = Canon([block])
            await transaction.move_cursor(canon, node_head=cursor["head_number"], live=False)
            await transaction.flush()
        return depth

    async def _drop_above(self, ground: Block) -> None:
        """Whatever was written since, and current state: of orders, what has changed since."""
        database = self._database
        for fact in Batch().facts():
            await database.delete_above(fact, ground.number)
        for own in (tables.checkpoints, tables.recalled):
            await database.delete_above(own, ground.number)
        await database.retract_blocks(ground.number)
        minute = ground.timestamp // CANDLE_SECONDS * CANDLE_SECONDS
        since = {
            tables.candles: ("open_time", minute),
            tables.orders: ("updated_block", ground.number + 1),
        }
        for table in (*CURRENT.values(), tables.outbox, tables.channels):
            await database.clear(table, since.get(table))

    async def close(self) -> None:
        await self._database.close()

    def _check(self, chain_id: int, stored: str) -> None:
        if chain_id != self._deployment.chain_id:
            raise WrongChain(chain_id, self._deployment.chain_id)
        before = msgspec.json.decode(stored)
        for field, asked in msgspec.to_builtins(_identity(self._deployment)).items():
            if before.get(field) != asked:
                raise WrongDeployment(field, before.get(field), asked)


async def open_store(
    database_url: str,
    deployment: Deployment,
    on_standby: Callable[[], None] = lambda: None,
    checkpoint_events: int = EVERY_EVENTS,
    say: Callable[[str], None] = lambda words: None,
) -> Store:
    """Connect as the chain's one writer.

    While another holds the writer's lock, calls `on_standby` once and waits for it to go.
    Raises DatabaseUnreachable, SchemaMissing.
    """
    connection = await postgres.connect(database_url)
    try:
        await check_schema(connection)
        await lock.hold(connection, lock.WRITER, str(deployment.chain_id), on_standby)
        database = Postgres(connection, partial(postgres.connect, database_url))
        await database.prepare()
    except BaseException:
        await connection.close()
        raise
    return Store(database, deployment, checkpoint_events, say=say)


async def check_schema(connection: postgres.Connection) -> None:
    """Raise SchemaMissing unless the schema is the one this code works with."""
    found = None
    if await connection.fetchval("select to_regclass('tidebook.alembic_version')"):
        found = await connection.fetchval("select version_num from tidebook.alembic_version")
    if found != migrations.HEAD:
        raise SchemaMissing(found, migrations.HEAD)


class Tally(msgspec.Struct):
    """How many events were ever written, retracted ones included."""

    events: int


class Transaction:
    """Steps on their way into the database."""

    def __init__(
        self, database: Database, numbering: Numbering, checkpoints: Checkpoints, tally: "Tally"
    ) -> None:
        self._tally = tally
        self._database = database
        self._checkpoints = checkpoints
        self._numbering = numbering
        self._batch = Batch()
        self._blocks = Lines(tables.blocks)
        """Headers of the past."""
        self._past_since: int | None = None
        """Their first height: the database has no order placed since."""
        self._outbox: list[OutboxRow] = []

    def receive(self, steps: Iterable[Step]) -> None:
        """What is known of blocks before they are folded: that they are there, and their logs."""
        for step in steps:
            if isinstance(step, Advance):
                self._batch.receive(step.block, step.logs, step.finality)
                self._count(len(step.logs))

    async def record(self, step: Step, change: Change) -> None:
        """The rows of one step that was received."""
        match change:
            case Applied():
                self._batch.add(change, undo=True)
            case Rewound():
                await self._flush_rows()
                await self._rewind(change)
            case Settled():
                await self._flush_rows()
                await self._settle(change)
            case _:
                assert_never(change)

    async def write(self, page: Page) -> None:
        """Finalized blocks: facts are sent; headers wait for more, records for what may follow."""
        if self._past_since is None:
            self._past_since = page.first
        self._count(len(page.events))
        self._blocks.lines += page.blocks.lines
        await self._database.append(tables.events, page.events)
        for table, lines in page.facts.items():
            await self._database.append(table, lines)
        for kind, images in page.records.items():
            self._batch.current[kind].update(images)

    async def recall(self, memory: Memory, events: Sequence[AnyEvent], number: int) -> None:
        """Bring back what the mirror has forgotten and `events`, of block `number` on, name."""
        if came := await recall.recall(self._database, memory, events):
            await self._database.upsert(tables.recalled, recall.rows(came, number))

    def enqueue(self, drafts: Iterable[Draft]) -> None:
        """Number messages and put them into the outbox."""
        self._outbox += self._numbering.number(drafts)

    async def move_cursor(self, canon: Canon, *, node_head: int, live: bool) -> None:
        """Where the next start begins. `node_head` is the newest height the node has told."""
        head, anchor = canon.head, canon.anchor
        await self._database.move_cursor(
            {
                "epoch": self._numbering.epoch,
                "seq": self._numbering.seq,
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
        await self._flush_rows()
        if self._outbox:
            await self._database.append(tables.outbox, self._outbox)
            await self._database.set_channels({row.channel: row.seq for row in self._outbox})
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
        await self._flush_rows()

    async def _settle(self, change: Settled) -> None:
        number = change.block.number
        await self._database.promote_blocks(number, change.finality)
        if change.finality != "finalized":
            return
        await self._database.delete_below(tables.undo, number + 1)
        await self._database.trim_outbox(number - OUTBOX_KEEP_BLOCKS)

    # -- rows -----------------------------------------------------------------------------------

    async def flush_facts(self) -> None:
        """Send the facts gathered, and work on: records wait, for later blocks may touch them."""
        batch = self._batch
        if batch.blocks:
            await self._database.upsert(tables.blocks, batch.blocks)
            batch.blocks.clear()
        found = batch.facts().items()
        facts = {table: rows for table, rows in found if rows and table is not tables.undo}
        for table, rows in facts.items():
            await self._database.append(table, rows)
            rows.clear()
        if facts:
            await self._database.forward()

    async def _flush_rows(self) -> None:
        batch = self._batch
        if self._blocks:
            await self._database.upsert(tables.blocks, self._blocks)
        await self.flush_facts()
        for kind, images in batch.current.items():
            table, gone = CURRENT[kind], [key for key, image in images.items() if image is None]
            kept: list[Any] = [image for image in images.values() if image is not None]
            if gone:
                await self._database.delete(table, gone)
            if kind == "orders" and (since := self._past_since) is not None:
                new = [order for order in kept if order.placed_block >= since]
                kept = [order for order in kept if order.placed_block < since]
                await self._database.append(table, new)  # half the price
            if kept:
                await self._database.upsert(table, kept)
        await self._database.forward()
        if batch.undo:  # packed while Postgres has the records
            await self._database.append(tables.undo, batch.undo)
        self._blocks = Lines(tables.blocks)
        batch.clear()


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


def _identity(deployment: Deployment) -> dict[str, object]:
    """What of a deployment a database is bound to."""
    return {
        "chain_id": deployment.chain_id,
        "protocol": deployment.protocol,
        "contracts": deployment.contracts,
        "fee_receiver": deployment.fee_receiver,
    }
