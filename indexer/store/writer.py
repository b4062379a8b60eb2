"""The one writer's side of Postgres: load everything once, then one transaction per batch of steps.

The rule that everything else leans on: rows, outbox and cursor move together or not at all. Nothing
here outlives the process, so there is nothing to repair: `load` is the only recovery path.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import msgspec

import migrations
from indexer import wire
from indexer.domain.block import Block, BlockRef
from indexer.domain.canon import Canon
from indexer.domain.deployment import Deployment
from indexer.domain.order import CANDLE_SECONDS
from indexer.mirror.fold import Mirror
from indexer.mirror.settled import SettledState
from indexer.store import lock, postgres, privileges, tables
from indexer.store.batch import CURRENT, Batch
from indexer.store.checkpoints import EVERY_EVENTS, Checkpoints, Row, encode_state
from indexer.store.database import Database
from indexer.store.errors import SchemaMissing, WrongChain, WrongDeployment
from indexer.store.indexes import Indexes
from indexer.store.load import load_canon, load_mirror
from indexer.store.privileges import READ, WRITE, Needs
from indexer.store.statements import Postgres
from indexer.store.transaction import RollbackRow, Tally, Transaction
from indexer.wire import Numbering


class Store:
    """The writer's connection. One per chain: `open_store` waits until no other is alive."""

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
        self.turn = asyncio.Lock()
        """Held by whoever is in a transaction."""
        self._new_epoch = new_epoch
        self._deployment = deployment
        self._numbering = Numbering("", 0, {}, 0)
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
                        "linked_seq": 0,
                        "live": False,
                        "events": 0,
                    }
                )
            self._check(cursor["chain_id"], cursor["deployment"])
            await self._indexes.look(is_first=cursor["block_number"] is None)
            channels = await database.channels()
            self._numbering = Numbering(
                cursor["epoch"], cursor["seq"], channels, cursor["linked_seq"]
            )
            self.live = cursor["live"]
            self._tally = Tally(cursor["events"])
            canon = await load_canon(database, cursor["finalized_number"], cursor["safe_number"])
            mirror = await self._checkpoints.start(deployment, canon)
            if mirror is None:
                mirror = await load_mirror(database, deployment, canon)
        return canon, mirror

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """All that happens inside is committed together, or (on any error) not at all."""
        async with self.turn, self._database.transaction():
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
        state = self.due(mirror, canon)
        return None if state is None else encode_state(state)

    def due(self, mirror: Mirror, canon: Canon) -> SettledState | None:
        """The state at the newest final block, if a checkpoint of it is due."""
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
            numbering = Numbering(self._new_epoch(), cursor["seq"], {}, cursor["seq"])
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
        for table in (*CURRENT.values(), tables.outbox, tables.links):
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
    Raises DatabaseUnreachable, SchemaMissing, NotAllowed.
    """
    connection = await postgres.connect(database_url)
    try:
        await check_schema(connection, WRITE)
        await lock.hold(connection, lock.WRITER, str(deployment.chain_id), on_standby)
        database = Postgres(connection, partial(postgres.connect, database_url))
    except BaseException:
        await connection.close()
        raise
    return Store(database, deployment, checkpoint_events, say=say)


async def check_schema(connection: postgres.Connection, needs: Needs = READ) -> None:
    """Raise SchemaMissing unless the schema is the one this code works with.

    Raises NotAllowed where our role lacks a privilege that the work needs.
    """
    await privileges.require(connection, needs)
    found = None
    if await connection.fetchval("select to_regclass('tidebook.alembic_version')"):
        found = await connection.fetchval("select version_num from tidebook.alembic_version")
    if found != migrations.HEAD:
        raise SchemaMissing(found, migrations.HEAD)


def _identity(deployment: Deployment) -> dict[str, object]:
    """What of a deployment a database is bound to."""
    return {
        "chain_id": deployment.chain_id,
        "protocol": deployment.protocol,
        "contracts": deployment.contracts,
        "fee_receiver": deployment.fee_receiver,
    }
