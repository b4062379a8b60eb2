"""The writer's operations as SQL: the real `Database`."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

import asyncpg

from indexer.domain.block import BlockRef, Promotion
from indexer.domain.units import Address
from indexer.store import arrays, log_rows, postgres, tables
from indexer.store.copy import chunks, columns
from indexer.store.database import Row
from indexer.store.log_rows import Packed
from indexer.store.queue import Queue
from indexer.store.rejected import naming
from indexer.store.shape import SCHEMA, Index, Table
from indexer.store.together import Part

NOTIFY_CHANNEL = "tidebook_outbox"
"""Postgres tells the relay here, inside the step's own transaction."""
LOCK_WAIT_MS = 200
"""How long dropping indexes waits for readers, and so those for it; making one a key does too."""
KEY_TRIES = 10
"""How often: a unique index that is not the key yet is as good, and the next start tries again."""
KEY_PAUSE_S = 0.5
BUILDERS = 3
"""Who build indexes at once: while one waits for the disk, two cores have something to do."""
BUILD_MEMORY = "128MB"
"""What building an index may use."""


Another = Callable[[], Awaitable[postgres.Connection]]
"""Opens one more connection to the same database."""


class Postgres:
    """A connection of the writer's."""

    def __init__(self, connection: postgres.Connection, another: Another | None = None) -> None:
        self._connection = Queue(connection)
        self._another = another

    async def close(self) -> None:
        await self._connection.close()

    def transaction(self, *, snapshot: bool = False) -> AbstractAsyncContextManager[Any]:
        if snapshot:
            return self._connection.transaction(isolation="repeatable_read")
        return self._connection.transaction()

    # -- reading ----------------------------------------------------------------------------------

    async def cursor(self) -> Row | None:
        return await self._connection.fetchrow("select * from tidebook.cursors")

    async def read(
        self,
        table: Table,
        columns: Sequence[str],
        least: tuple[str, int] | None = None,
        order: Sequence[str] = (),
    ) -> Sequence[Row]:
        query, values = f"select {', '.join(columns)} from {table}", []
        if least is not None:
            column, value = least
            query += f" where {column} >= $1"
            values.append(value)
        if order:
            query += f" order by {', '.join(order)}"
        return await self._connection.fetch(query, *values)

    async def canonical_blocks(self, columns: Sequence[str], least: int) -> Sequence[Row]:
        return await self._connection.fetch(
            f"select {', '.join(columns)} from tidebook.blocks"
            " where canonical and number >= $1 order by number",
            least,
        )

    async def newest_block(self, at_most: int) -> BlockRef | None:
        row = await self._connection.fetchrow(
            "select number, hash from tidebook.blocks"
            " where canonical and number <= $1 order by number desc limit 1",
            at_most,
        )
        return None if row is None else BlockRef(**row)

    async def first_block(self) -> BlockRef | None:
        row = await self._connection.fetchrow(
            "select number, hash from tidebook.blocks where canonical order by number limit 1"
        )
        return None if row is None else BlockRef(**row)

    async def kept_orders(self, columns: Sequence[str]) -> Sequence[Row]:
        names = ", ".join(columns)
        return await self._connection.fetch(
            f"select {names} from tidebook.orders where queued"
            f" union all select {names} from tidebook.markets m, lateral ("
            "  select * from tidebook.orders where market = m.address and order_id = 1"
            "  union (select * from tidebook.orders where market = m.address"
            "         order by order_id desc limit 1)) o where not queued"
        )

    async def orders_behind(
        self, columns: Sequence[str], keys: Sequence[tuple[Address, int]]
    ) -> Sequence[Row]:
        names = ", ".join(f"o.{name}" for name in columns)
        return await self._connection.fetch(
            _ORDERS_BEHIND.replace("NAMES", names),
            [market for market, _ in keys],
            [order_id for _, order_id in keys],
        )

    async def channels(self) -> dict[str, int]:
        rows = await self._connection.fetch("select channel, seq from tidebook.channels")
        return dict(map(tuple, rows))

    async def indexes(self) -> set[str]:
        rows = await self._connection.fetch(_INDEXES, SCHEMA)
        return {row["name"] for row in rows}

    async def owns_tables(self) -> bool:
        row = await self._connection.fetchrow(_OWNS_TABLES, SCHEMA)
        return row is not None and bool(row["owns"])

    # -- writing ----------------------------------------------------------------------------------

    async def begin_cursor(self, fields: Mapping[str, Any]) -> Row:
        values = ", ".join(f"${n}" for n in range(1, len(fields) + 1))
        row = await self._connection.fetchrow(
            f"insert into tidebook.cursors ({', '.join(fields)}) values ({values}) returning *",
            *fields.values(),
        )
        assert row is not None, "insert returned no row"
        return row

    async def move_cursor(self, fields: Mapping[str, Any]) -> None:
        values = ", ".join(f"{name} = ${n}" for n, name in enumerate(fields, 1))
        paces = ", ".join(_pace(pace, list(fields)) for pace in _PACES)
        query = f"update tidebook.cursors set {values}, {paces}, updated_at = now()"
        part = Part("update", tables.cursors, query, tuple(fields.values()))
        await self._connection.gather(part)

    async def append(self, table: Table, rows: Sequence[object]) -> None:
        if isinstance(rows, Packed):
            with naming((table, rows)):
                await self._connection.copy_to_table(
                    table.name,
                    schema_name=SCHEMA,
                    columns=log_rows.COLUMNS,
                    source=rows.copy(),
                    format="binary",
                )
            return
        if arrays.fit(table, rows):
            await self._connection.gather(_insertion(table, rows, replace=False))
            return
        with naming((table, rows)):
            await self._connection.copy_to_table(
                table.name,
                schema_name=SCHEMA,
                columns=columns(table),
                source=chunks(table, rows),
                format="text",
            )

    async def upsert(self, table: Table, rows: Sequence[object]) -> None:
        """Many rows go by COPY into the stage and are merged: half the price of one by one."""
        if arrays.fit(table, rows):
            await self._connection.gather(_insertion(table, rows, replace=True))
            return
        with naming((table, rows)):
            stage = _stage(table)
            await self._connection.execute(_begin_stage(table))
            await self._connection.copy_to_table(
                stage, columns=columns(table), source=chunks(table, rows), format="text"
            )
            await self._connection.execute(f"{_merge(table)}; truncate {stage}")

    async def delete(self, table: Table, keys: Sequence[tuple[object, ...]]) -> None:
        part = Part("delete", table, arrays.delete(table), arrays.keys(table, keys))
        await self._connection.gather(part)

    async def delete_above(self, table: Table, number: int) -> None:
        await self._connection.execute(f"delete from {table} where block_number > $1", number)

    async def clear(self, table: Table, least: tuple[str, int] | None = None) -> None:
        if least is None:
            await self._connection.execute(f"delete from {table}")
        else:
            column, value = least
            await self._connection.execute(f"delete from {table} where {column} >= $1", value)

    async def delete_below(self, table: Table, number: int) -> None:
        query = f"delete from {table} where block_number < $1"
        await self._connection.gather(Part("delete", table, query, (number,)))

    async def trim_outbox(self, number: int) -> None:
        await self._connection.gather(Part("delete", tables.outbox, _TRIM, (number,)))

    async def retract_blocks(self, number: int) -> None:
        await self._connection.execute(
            "update tidebook.blocks set canonical = false where number > $1 and canonical", number
        )

    async def promote_blocks(self, number: int, finality: Promotion) -> None:
        await self._connection.gather(Part("update", tables.blocks, _PROMOTE, (number, finality)))

    async def set_links(self, newest: Mapping[str, int]) -> None:
        # as texts: asyncpg asks of every member of a list whether it is a list
        values = "\n".join(newest), f"{{{','.join(map(str, newest.values()))}}}"
        part = Part("insert", tables.links, _SET_LINKS, values)
        await self._connection.gather(part)

    async def notify(self) -> None:
        await self._connection.gather(Part("select", tables.outbox, _NOTIFY, ()))
        await self.forward()  # nothing may come behind it

    async def forward(self) -> None:
        await self._connection.forward()

    # -- indexes ----------------------------------------------------------------------------------

    async def drop_indexes(self, indexes: Sequence[Index]) -> bool:
        try:
            async with self.transaction():
                await self._connection.execute(_WAIT_A_LITTLE)
                for index in indexes:
                    await self._connection.execute(_drop(index))
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            return False
        return True

    async def create_indexes(self, indexes: Sequence[Index]) -> None:
        """Several at once, if there may be more connections: a build is one process's work."""
        waiting = deque(indexes)
        builders = [self]
        async with AsyncExitStack() as opened:
            while self._another is not None and len(builders) < min(BUILDERS, len(waiting)):
                beside = Postgres(await self._another())
                opened.push_async_callback(beside.close)
                builders.append(beside)

            async def build(builder: Postgres) -> None:
                while waiting:
                    await builder.create_index(waiting.popleft())

            tasks = [asyncio.create_task(build(builder)) for builder in builders]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        for index in indexes:
            if index.is_key:
                await self._make_key(index)

    async def create_index(self, index: Index) -> None:
        """Build one, in a transaction of its own; readers go on meanwhile."""
        async with self.transaction():
            await self._connection.execute(_BUILD_ALONE)
            await self._connection.execute(_create(index))

    async def _make_key(self, key: Index) -> None:
        """Of the index that was built for it, which takes a moment in which nobody reads."""
        for _ in range(KEY_TRIES):
            try:
                async with self.transaction():
                    await self._connection.execute(_WAIT_A_LITTLE)
                    await self._connection.execute(
                        f"alter table {key.table}"
                        f" add constraint {key.name} primary key using index {key.name}"
                    )
                return
            except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                await asyncio.sleep(KEY_PAUSE_S)


def _drop(index: Index) -> str:
    if index.is_key:
        return f"alter table {index.table} drop constraint if exists {index.name}"
    return f"drop index if exists {SCHEMA}.{index.name}"


def _create(index: Index) -> str:
    assert not index.where, f"{index.name} is of some rows only"
    kind, names = "unique index" if index.unique else "index", ", ".join(index.columns)
    return f"create {kind} if not exists {index.name} on {index.table} ({names})"


_INDEXES = """
select i.relname as name
  from pg_index x
  join pg_class i on i.oid = x.indexrelid
  join pg_namespace n on n.oid = i.relnamespace
 where n.nspname = $1 and (x.indisprimary or i.relname not like '%\\_pk')
"""
"""A unique index that waits to be the key has the key's name."""
_OWNS_TABLES = """
select bool_and(pg_has_role(relowner, 'usage') and has_schema_privilege(n.oid, 'create')) as owns
  from pg_class c join pg_namespace n on n.oid = relnamespace
 where nspname = $1 and relkind = 'r'
"""
_WAIT_A_LITTLE = f"set local lock_timeout = '{LOCK_WAIT_MS}ms'"
_BUILD_ALONE = (
    "set local statement_timeout = 0;"  # a server's limit is meant for questions
    f" set local maintenance_work_mem = '{BUILD_MEMORY}';"
    " set local max_parallel_maintenance_workers = 0"  # others build meanwhile
)


def _insertion(table: Table, rows: Sequence[object], *, replace: bool) -> Part:
    query = arrays.insert(table, replace=replace)
    return Part("insert", table, query, arrays.values(table, rows), rows)


_SET_LINKS = (
    "insert into tidebook.links"
    " select * from unnest(string_to_array($1::text, E'\\n'), $2::text::bigint[])"
    " on conflict (channel) do update set seq = excluded.seq"
)
_PROMOTE = (
    "update tidebook.blocks set finality = $2"
    " where number > coalesce((select finalized_number from tidebook.cursors), -1)"  # not all ever
    " and number <= $1 and canonical and finality not in ($2, 'finalized')"
)
_TRIM = (
    "delete from tidebook.outbox where seq <= (select linked_seq from tidebook.cursors)"
    " and seq <= (select seq from tidebook.outbox"
    " where block_number < $1 order by block_number desc, seq desc limit 1)"
)
_NOTIFY = (
    f"select pg_notify('{NOTIFY_CHANNEL}',"
    " (extract(epoch from now()) * 1000000)::bigint::text)"  # when the transaction began
)
_ORDERS_BEHIND = """
with recursive found as (
  select o.market, o.order_id, o.next, o.prev, o.queued
    from unnest($1::bytea[], $2::bigint[]) k (market, order_id)
    join tidebook.orders o using (market, order_id)
  union
  select o.market, o.order_id, o.next, o.prev, o.queued
    from found f join tidebook.orders o on o.market = f.market and o.order_id = f.next
   where not f.queued and f.next <> 0
), wanted as (
  select market, order_id from found
  union
  select market, prev from found where not queued and prev <> 0
)
select NAMES from wanted join tidebook.orders o using (market, order_id)
"""
"""Each step is a look-up by primary key; a list that runs in a circle ends where it repeats."""


_PACES = {"events_per_s": "events", "blocks_per_s": "block_number"}
"""Columns that say how fast others of the cursor grow."""
PACE_S = 10
"""How long ago what happened weighs a third of what happens now."""
LEAST_PACE = 1e-9
"""A smaller pace is none: Postgres refuses products that are too small for a double."""


def _pace(pace: str, fields: Sequence[str]) -> str:
    """How a pace follows the growth since the last commit: the longer that took, the closer."""
    name = _PACES[pace]
    seconds = "greatest(extract(epoch from now() - updated_at)::float8, 0.001)"
    grown = f"greatest(coalesce(${fields.index(name) + 1}::bigint - {name}, 0), 0)"
    weight = f"(1 - exp(-least({seconds} / {PACE_S}, 100)))"  # exp of -746 is an error, not 0
    before = f"case when {pace} < {LEAST_PACE} then 0 else {pace} end"
    return f"{pace} = {before} + {weight} * ({grown} / {seconds} - {before})"


def _stage(table: Table) -> str:
    return f"stage_{table.name}"


def _begin_stage(table: Table) -> str:
    """It goes with its transaction: nobody else can freeze the rows of a temporary table, so one
    that lived as long as its writer would keep the whole cluster from ever using its xids again."""
    return f"create temp table if not exists {_stage(table)} (like {table}) on commit drop"


def _merge(table: Table) -> str:
    names = ", ".join(columns(table))
    copied = f"insert into {table} ({names}) select {names} from {_stage(table)}"
    return copied + arrays.on_conflict(table)
