"""A database in memory whose every operation can wait and fail: `statements.Postgres`' double.

A `Disk` is what outlives a process; a `MemoryDatabase` is one process's connection to it. Writes of
a transaction wait in the connection and reach the disk together, at the commit.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from indexer.domain.block import BlockRef, Promotion
from indexer.domain.units import Address
from indexer.store import tables
from indexer.store.copy import columns
from indexer.store.shape import Index, Table

Pause = Callable[[str], Awaitable[None]]
"""Called with an operation's name wherever the real one would wait; may raise what that would."""

Stored = dict[str, Any]


async def no_pause(operation: str) -> None:
    """Nothing waits and nothing fails."""


class ConstraintViolated(Exception):
    """What Postgres would refuse."""


@dataclass(frozen=True)
class _Form:
    """What of a table's definition every row needs."""

    columns: dict[str, str]
    """Where a row has each of them."""
    required: tuple[str, ...]
    key: tuple[str, ...]
    numbered: bool


@cache
def _form(table: Table) -> _Form:
    written = {name: table.columns[name].attribute for name in columns(table)}
    return _Form(
        written,
        tuple(name for name in written if not table.columns[name].nullable),
        table.key.columns,
        any(column.numbered for column in table.key_columns),
    )


class Disk:
    """The tables, by name and primary key."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[tuple[Any, ...], Stored]] = {
            table.name: {} for table in tables.ALL
        }
        self.indexes = {index.name for table in tables.ALL for index in (table.key, *table.indexes)}
        """Those that there are, by name."""
        self.listeners: list[Callable[[], None]] = []
        """Told when the outbox has grown."""
        self._last_id = 0

    def copy(self) -> "Disk":
        """The same rows, to be changed apart."""
        found = Disk()
        for name, rows in self.tables.items():
            found.tables[name] = {key: dict(row) for key, row in rows.items()}
        found.indexes = set(self.indexes)
        found._last_id = self._last_id
        return found

    def rows(self, table: Table) -> dict[tuple[Any, ...], Stored]:
        return self.tables[table.name]

    @property
    def cursor(self) -> Stored | None:
        return self.rows(tables.cursors).get((True,))

    def channels(self) -> dict[str, int]:
        """The view: each channel's newest seq."""
        cursor = self.cursor
        newest = {row["channel"]: row["seq"] for row in self.rows(tables.links).values()}
        for row in self.rows(tables.outbox).values():
            if cursor and cursor["linked_seq"] < row["seq"] <= cursor["seq"]:
                newest.update(zip(row["channels"], row["newest"], strict=True))
        return newest

    def insert(self, table: Table, row: object, *, replace: bool = False) -> None:
        """Add a row, or replace the one of its key. Raises ConstraintViolated."""
        form = _form(table)
        stored = {name: getattr(row, told) for name, told in form.columns.items()}
        for name in form.required:
            if stored[name] is None:
                raise ConstraintViolated(f"{table.name}.{name} is null")
        if form.numbered:
            self._last_id += 1
            stored["id"] = self._last_id
        key = tuple([stored[name] for name in form.key])
        rows = self.rows(table)
        if key in rows and not replace:
            raise ConstraintViolated(f"{table.name} has {key} already")
        if table is tables.blocks and stored["canonical"]:
            self._require_one_canonical(stored)
        rows[key] = stored

    def _require_one_canonical(self, block: Stored) -> None:
        for other in self.rows(tables.blocks).values():
            same_height = other["canonical"] and other["number"] == block["number"]
            if same_height and other["hash"] != block["hash"]:
                raise ConstraintViolated(f"two canonical blocks {block['number']}")

    def delete_where(self, table: Table, condition: Callable[[Stored], bool]) -> None:
        rows = self.rows(table)
        for key in [key for key, row in rows.items() if condition(row)]:
            del rows[key]


class MemoryDatabase:
    """One connection. `pause` decides how long each operation takes and whether it fails."""

    def __init__(self, disk: Disk, pause: Pause = no_pause) -> None:
        self.disk = disk
        self._pause = pause
        self._writes: list[Callable[[], None]] = []

    @asynccontextmanager
    async def transaction(self, *, snapshot: bool = False) -> AsyncIterator[None]:
        await self._pause("begin")
        self._writes = []
        yield
        await self._pause("commit")  # an error here: nothing is kept
        for write in self._writes:
            write()
        await self._pause("committed")  # an error here: all is kept, and nobody knows

    # -- reading ----------------------------------------------------------------------------------

    async def cursor(self) -> Stored | None:
        await self._pause("read cursors")
        return self.disk.cursor

    async def read(
        self,
        table: Table,
        columns: Sequence[str],
        least: tuple[str, int] | None = None,
        order: Sequence[str] = (),
    ) -> Sequence[Stored]:
        await self._pause(f"read {table.name}")
        rows: Iterable[Stored] = self.disk.rows(table).values()
        if least is not None:
            column, value = least
            rows = [row for row in rows if row[column] >= value]
        if order:
            rows = sorted(rows, key=lambda row: tuple(row[name] for name in order))
        return [{name: row[name] for name in columns} for row in rows]

    async def canonical_blocks(self, columns: Sequence[str], least: int) -> Sequence[Stored]:
        rows = await self.read(
            tables.blocks, (*columns, "canonical"), ("number", least), ("number",)
        )
        return [{name: row[name] for name in columns} for row in rows if row["canonical"]]

    async def newest_block(self, at_most: int) -> BlockRef | None:
        await self._pause("read blocks")
        blocks = self.disk.rows(tables.blocks).values()
        kept = [row for row in blocks if row["canonical"] and row["number"] <= at_most]
        found = [(row["number"], row["hash"]) for row in kept]
        return BlockRef(*max(found)) if found else None

    async def first_block(self) -> BlockRef | None:
        await self._pause("read blocks")
        blocks = self.disk.rows(tables.blocks).values()
        found = [(row["number"], row["hash"]) for row in blocks if row["canonical"]]
        return BlockRef(*min(found)) if found else None

    async def kept_orders(self, columns: Sequence[str]) -> Sequence[Stored]:
        await self._pause("read orders")
        orders = self.disk.rows(tables.orders).values()
        newest: dict[str, int] = {}
        for row in orders:
            newest[row["market"]] = max(row["order_id"], newest.get(row["market"], 0))
        return [
            {name: row[name] for name in columns}
            for row in orders
            if row["queued"] or row["order_id"] in (1, newest[row["market"]])
        ]

    async def orders_behind(
        self, columns: Sequence[str], keys: Sequence[tuple[Address, int]]
    ) -> Sequence[Stored]:
        await self._pause("read orders")
        orders = self.disk.rows(tables.orders)
        found: dict[tuple[Any, ...], Stored] = {}
        for market, order_id in keys:
            while (row := orders.get((market, order_id))) and (market, order_id) not in found:
                found[market, order_id] = row
                if row["queued"]:
                    break
                order_id = row["next"]
        for (market, _), row in list(found.items()):
            before = orders.get((market, row["prev"]))
            if before is not None and not row["queued"]:
                found[market, row["prev"]] = before
        return [{name: row[name] for name in columns} for row in found.values()]

    async def channels(self) -> dict[str, int]:
        await self._pause("read channels")
        return self.disk.channels()

    async def indexes(self) -> set[str]:
        await self._pause("read indexes")
        return set(self.disk.indexes)

    async def owns_tables(self) -> bool:
        return True

    # -- writing ----------------------------------------------------------------------------------

    async def begin_cursor(self, fields: Mapping[str, Any]) -> Stored:
        await self._pause("insert cursors")
        row = {name: fields.get(name) for name in tables.cursors.columns}
        self._write(lambda: self.disk.rows(tables.cursors).update({(True,): row}))
        return row

    async def move_cursor(self, fields: Mapping[str, Any]) -> None:
        await self._pause("update cursors")
        kept = dict(fields)
        self._write(lambda: self.disk.rows(tables.cursors)[True,].update(kept))

    async def append(self, table: Table, rows: Sequence[object]) -> None:
        await self._pause(f"append {table.name}")
        kept = list(rows)

        def write() -> None:
            for row in kept:
                self.disk.insert(table, row)

        self._write(write)

    async def upsert(self, table: Table, rows: Sequence[object]) -> None:
        await self._pause(f"upsert {table.name}")
        kept = list(rows)

        def write() -> None:
            for row in kept:
                self.disk.insert(table, row, replace=True)

        self._write(write)

    async def delete(self, table: Table, keys: Sequence[tuple[object, ...]]) -> None:
        await self._pause(f"delete {table.name}")

        def write() -> None:
            for key in keys:
                self.disk.rows(table).pop(key, None)

        self._write(write)

    async def delete_above(self, table: Table, number: int) -> None:
        await self._pause(f"delete above {table.name}")
        self._write(lambda: self.disk.delete_where(table, lambda r: r["block_number"] > number))

    async def clear(self, table: Table, least: tuple[str, int] | None = None) -> None:
        await self._pause(f"clear {table.name}")

        def write() -> None:
            self.disk.delete_where(table, lambda row: least is None or row[least[0]] >= least[1])

        self._write(write)

    async def delete_below(self, table: Table, number: int) -> None:
        await self._pause(f"delete below {table.name}")
        self._write(lambda: self.disk.delete_where(table, lambda r: r["block_number"] < number))

    async def trim_outbox(self, number: int) -> None:
        await self._pause("trim outbox")

        def write() -> None:
            rows = self.disk.rows(tables.outbox).values()
            below = [(r["block_number"], r["seq"]) for r in rows if r["block_number"] < number]
            cursor = self.disk.cursor
            assert cursor is not None, "an outbox without a cursor"
            last = min(max(below, default=(0, 0))[1], cursor["linked_seq"])
            self.disk.delete_where(tables.outbox, lambda row: row["seq"] <= last)

        self._write(write)

    async def retract_blocks(self, number: int) -> None:
        await self._pause("retract blocks")

        def write() -> None:
            for block in self.disk.rows(tables.blocks).values():
                if block["number"] > number:
                    block["canonical"] = False

        self._write(write)

    async def promote_blocks(self, number: int, finality: Promotion) -> None:
        await self._pause("promote blocks")

        def write() -> None:
            for block in self.disk.rows(tables.blocks).values():
                below = block["number"] <= number and block["canonical"]
                if below and block["finality"] != "finalized":
                    block["finality"] = finality

        self._write(write)

    async def set_links(self, newest: Mapping[str, int]) -> None:
        await self._pause("upsert links")
        rows = {(channel,): {"channel": channel, "seq": seq} for channel, seq in newest.items()}
        self._write(lambda: self.disk.rows(tables.links).update(rows))

    async def notify(self) -> None:
        await self._pause("notify")

        def tell() -> None:
            for listener in self.disk.listeners:
                listener()

        self._write(tell)

    async def forward(self) -> None:
        """Nothing waits here."""

    # -- indexes ----------------------------------------------------------------------------------

    async def drop_indexes(self, indexes: Sequence[Index]) -> bool:
        async with self.transaction():
            await self._pause("drop indexes")
            names = {index.name for index in indexes}
            self._write(lambda: self.disk.indexes.difference_update(names))
        return True

    async def create_indexes(self, indexes: Sequence[Index]) -> None:
        for name in [index.name for index in indexes]:
            async with self.transaction():
                await self._pause("create index")
                self._write(partial(self.disk.indexes.add, name))

    async def close(self) -> None:
        """The disk stays."""

    def _write(self, write: Callable[[], Any]) -> None:
        self._writes.append(write)


class News:
    """The relay's ear at a disk: set when the outbox has grown."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._heard = asyncio.Event()
        disk.listeners.append(self._heard.set)

    async def wait(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._heard.wait()
        except TimeoutError:
            pass
        self._heard.clear()

    def close(self) -> None:
        self._disk.listeners.remove(self._heard.set)
