"""The one writer's side of Postgres: load everything once, then one transaction per batch of steps.

The rule that everything else leans on: rows, outbox and cursor move together or not at all. Nothing
here outlives the process, so there is nothing to repair: `load` is the only recovery path.
"""

import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from io import BytesIO
from typing import assert_never

import msgspec
from sqlalchemy import Table

import migrations
from indexer.domain.canon import Canon
from indexer.domain.change import Applied, Change, Rewound, Settled
from indexer.domain.deployment import Deployment
from indexer.domain.step import Advance, Step
from indexer.mirror.fold import Mirror
from indexer.store import postgres, tables
from indexer.store.batch import CURRENT, Batch
from indexer.store.copy import columns, lines
from indexer.store.errors import SchemaMissing, WrongChain, WrongDeployment
from indexer.store.load import load_canon, load_mirror
from indexer.wire import Draft, Numbering, OutboxRow

NOTIFY_CHANNEL = "tidebook_outbox"
"""Postgres tells the relay here, inside the step's own transaction."""

OUTBOX_KEEP_BLOCKS = 50_000
"""Finalized blocks whose messages stay for clients that resume; older ones get a snapshot."""


class Store:
    """The writer's connection. Hold one per chain: `open` waits until no other writer is alive."""

    def __init__(self, connection: postgres.Connection, deployment: Deployment) -> None:
        self._connection = connection
        self._deployment = deployment
        self._numbering = Numbering("", 0, {})
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
        connection, deployment = self._connection, self._deployment
        async with connection.transaction(isolation="repeatable_read"):
            cursor = await connection.fetchrow("select * from tidebook.cursors")
            if cursor is None:
                cursor = await connection.fetchrow(
                    "insert into tidebook.cursors (one, chain_id, deployment, epoch, seq, live)"
                    " values (true, $1, $2, $3, 0, false) returning *",
                    deployment.chain_id,
                    msgspec.json.encode(_identity(deployment)).decode(),
                    uuid.uuid4().hex[:12],
                )
            assert cursor is not None, "insert returned no row"
            self._check(cursor["chain_id"], cursor["deployment"])
            channels = await connection.fetch("select channel, seq from tidebook.channels")
            self._numbering = Numbering(
                cursor["epoch"], cursor["seq"], {row["channel"]: row["seq"] for row in channels}
            )
            self.live = cursor["live"]
            canon = await load_canon(connection, cursor["finalized_number"], cursor["safe_number"])
            mirror = await load_mirror(connection, deployment, canon)
        return canon, mirror

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["Transaction"]:
        """All that happens inside is committed together, or (on any error) not at all."""
        async with self._connection.transaction():
            transaction = Transaction(self._connection, self._numbering)
            yield transaction
            await transaction.flush()

    async def close(self) -> None:
        await self._connection.close()

    def _check(self, chain_id: int, stored: str) -> None:
        if chain_id != self._deployment.chain_id:
            raise WrongChain(chain_id, self._deployment.chain_id)
        before = msgspec.json.decode(stored)
        for field, asked in msgspec.to_builtins(_identity(self._deployment)).items():
            if before.get(field) != asked:
                raise WrongDeployment(field, before.get(field), asked)


async def open_store(
    database_url: str, deployment: Deployment, on_standby: Callable[[], None] = lambda: None
) -> Store:
    """Connect as the chain's one writer.

    While another holds the writer's lock, calls `on_standby` once and waits for it to go.
    Raises DatabaseUnreachable, SchemaMissing.
    """
    connection = await postgres.connect(database_url)
    await check_schema(connection)
    lock = ("tidebook writer", deployment.chain_id)
    locked = "select pg_try_advisory_lock(hashtext($1), ($2::bigint % 2147483647)::int)"
    if not await connection.fetchval(locked, *lock):
        on_standby()
        await connection.execute(locked.replace("_try", ""), *lock)
    await connection.execute(_STAGES)
    return Store(connection, deployment)


async def check_schema(connection: postgres.Connection) -> None:
    """Raise SchemaMissing unless the schema is the one this code works with."""
    found = None
    if await connection.fetchval("select to_regclass('tidebook.alembic_version')"):
        found = await connection.fetchval("select version_num from tidebook.alembic_version")
    if found != migrations.HEAD:
        raise SchemaMissing(found, migrations.HEAD)


class Transaction:
    """Steps on their way into the database."""

    def __init__(self, connection: postgres.Connection, numbering: Numbering) -> None:
        self._connection = connection
        self._numbering = numbering
        self._batch = Batch()
        self._outbox: list[OutboxRow] = []

    async def record(self, step: Step, change: Change) -> None:
        """The rows of one step."""
        match change:
            case Applied():
                assert isinstance(step, Advance), f"{step} applied nothing"
                self._batch.add(change, step.logs, step.finality)
            case Rewound():
                await self._flush_rows()
                await self._rewind(change)
            case Settled():
                await self._flush_rows()
                await self._settle(change)
            case _:
                assert_never(change)

    def enqueue(self, drafts: Iterable[Draft]) -> None:
        """Number messages and put them into the outbox."""
        self._outbox += self._numbering.number(drafts)

    async def move_cursor(self, canon: Canon, *, node_head: int, live: bool) -> None:
        """Where the next start begins. `node_head` is the newest height the node has told."""
        head, anchor = canon.head, canon.anchor
        await self._connection.execute(
            "update tidebook.cursors set seq = $1, block_number = $2, block_hash = $3,"
            " finalized_number = $4, head_number = $5, live = $6, safe_number = $7,"
            " updated_at = now()",
            self._numbering.seq,
            head and head.number,
            head and head.hash,
            anchor and anchor.number,
            node_head,
            live,
            canon.safe and canon.safe.number,
        )

    async def flush(self) -> None:
        """Send everything gathered; called by Store.transaction before it commits."""
        await self._flush_rows()
        if self._outbox:
            await self._copy(tables.outbox, self._outbox)
            newest = {row.channel: row.seq for row in self._outbox}
            await self._connection.execute(
                "insert into tidebook.channels select * from unnest($1::text[], $2::bigint[])"
                " on conflict (channel) do update set seq = excluded.seq",
                list(newest),
                list(newest.values()),
            )
            await self._connection.execute(f"notify {NOTIFY_CHANNEL}")

    # -- the three kinds of change ------------------------------------------------------------

    async def _rewind(self, change: Rewound) -> None:
        """Facts of retracted blocks go, records get their old images, the blocks stay retracted."""
        if not change.retracted:
            return
        ancestor, head = change.ancestor, change.retracted[0].block
        for fact in Batch().facts():
            await self._connection.execute(
                f"delete from {fact} where block_number > $1", ancestor.number
            )
        await self._connection.execute(
            "update tidebook.blocks set canonical = false where number > $1 and canonical",
            ancestor.number,
        )
        for applied in change.retracted:  # newest first: the oldest image is the last set
            self._batch.set(applied.deltas.inverse())
        await self._connection.execute(
            "insert into tidebook.rollbacks"
            " (ancestor_number, ancestor_hash, head_number, head_hash, depth)"
            " values ($1, $2, $3, $4, $5)",
            ancestor.number,
            ancestor.hash,
            head.number,
            head.hash,
            change.depth,
        )
        await self._flush_rows()

    async def _settle(self, change: Settled) -> None:
        await self._connection.execute(
            "update tidebook.blocks set finality = $2"
            " where number <= $1 and canonical and finality not in ($2, 'finalized')",
            change.block.number,
            change.finality,
        )
        if change.finality != "finalized":
            return
        await self._connection.execute(
            "delete from tidebook.undo where block_number <= $1", change.block.number
        )
        await self._connection.execute(
            "delete from tidebook.outbox where block_number < $1",
            change.block.number - OUTBOX_KEEP_BLOCKS,
        )

    # -- rows -----------------------------------------------------------------------------------

    async def _flush_rows(self) -> None:
        batch = self._batch
        if batch.blocks:
            await self._upsert(tables.blocks, batch.blocks)
        for table, rows in batch.facts().items():
            if rows:
                await self._copy(table, rows)
        for kind, images in batch.current.items():
            kept = [image for image in images.values() if image is not None]
            gone = [key for key, image in images.items() if image is None]
            if gone:
                await self._delete(CURRENT[kind], gone)
            if kept:
                await self._upsert(CURRENT[kind], kept)
        batch.clear()

    async def _copy(self, table: Table, rows: Iterable[object]) -> None:
        await self._connection.copy_to_table(
            table.name,
            schema_name=tables.SCHEMA,
            columns=columns(table),
            source=BytesIO(lines(table, rows)),
            format="text",
        )

    async def _upsert(self, table: Table, rows: Iterable[object]) -> None:
        """COPY into the table's stage, then merge: half the price of row-wise upserts."""
        await self._connection.copy_to_table(
            _stage(table), columns=columns(table), source=BytesIO(lines(table, rows)), format="text"
        )
        await self._connection.execute(_merge(table))

    async def _delete(self, table: Table, keys: list[tuple[object, ...]]) -> None:
        condition = " and ".join(f"{c.name} = ${n}" for n, c in enumerate(table.primary_key, 1))
        await self._connection.executemany(f"delete from {table} where {condition}", keys)


def _stage(table: Table) -> str:
    return f"stage_{table.name}"


def _merge(table: Table) -> str:
    names = ", ".join(columns(table))
    key = ", ".join(column.name for column in table.primary_key)
    values = ", ".join(
        f"{name} = excluded.{name}" for name in columns(table) if name not in table.primary_key
    )
    return (
        f"insert into {table} ({names}) select {names} from {_stage(table)}"
        f" on conflict ({key}) do update set {values};"
        f" truncate {_stage(table)}"
    )


def _identity(deployment: Deployment) -> dict[str, object]:
    """What of a deployment a database is bound to."""
    return {
        "chain_id": deployment.chain_id,
        "protocol": deployment.protocol,
        "contracts": deployment.contracts,
        "fee_receiver": deployment.fee_receiver,
    }


_STAGES = ";".join(
    f"create temp table {_stage(table)} (like {table})"
    for table in (tables.blocks, *CURRENT.values())
)
