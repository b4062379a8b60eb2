"""What the writer asks of a database, operation by operation.

`statements.Postgres` is the real one. `memory.MemoryDatabase` is its double, in which every
operation can fail, for tests that need thousands of lives of a writer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from indexer.domain.block import BlockRef, Promotion
    from indexer.domain.units import Address
    from indexer.store.shape import Index, Table


class Row(Protocol):
    """A stored row by column name: hex as text, numeric as int."""

    def __getitem__(self, name: str, /) -> Any: ...
    def keys(self) -> Iterable[str]: ...


class Database(Protocol):
    """One writer's connection. Whatever a transaction encloses is kept together or not at all."""

    def transaction(self, *, snapshot: bool = False) -> AbstractAsyncContextManager[Any]:
        """Commits at the end, unless an error passes through. `snapshot`: all reads see one state.

        An error of the commit itself leaves open whether it happened: only a new start can tell.
        """

    # -- reading ----------------------------------------------------------------------------------

    async def cursor(self) -> Row | None:
        """The one row of `cursors`."""

    async def read(
        self,
        table: Table,
        columns: Sequence[str],
        least: tuple[str, int] | None = None,
        order: Sequence[str] = (),
    ) -> Sequence[Row]:
        """Rows whose column is at least so much; all, if `least` is None."""

    async def canonical_blocks(self, columns: Sequence[str], least: int) -> Sequence[Row]:
        """Canonical blocks from a height on, in order."""

    async def newest_block(self, at_most: int) -> BlockRef | None:
        """The highest canonical block that is kept up to a height."""

    async def first_block(self) -> BlockRef | None:
        """The lowest canonical block."""

    async def kept_orders(self, columns: Sequence[str]) -> Sequence[Row]:
        """Orders that a taker can reach, and every market's first and newest one."""

    async def orders_behind(
        self, columns: Sequence[str], keys: Sequence[tuple[Address, int]]
    ) -> Sequence[Row]:
        """The orders of these keys, and whom their pointers lead to.

        Along `next` as far as the first that a taker can reach, and one along `prev` from each.
        """

    async def channels(self) -> dict[str, int]:
        """The newest seq of each channel: the links that were set, and the outbox behind them."""

    async def indexes(self) -> set[str]:
        """The names of all indexes that there are; of one that is to be a key, once it is."""

    async def owns_tables(self) -> bool:
        """Whether we may drop indexes and build them."""

    # -- writing ----------------------------------------------------------------------------------

    async def begin_cursor(self, fields: Mapping[str, Any]) -> Row:
        """Insert the one row of `cursors`; returns it as stored."""

    async def move_cursor(self, fields: Mapping[str, Any]) -> None:
        """Set columns of the one row of `cursors`, and when that was."""

    async def append(self, table: Table, rows: Sequence[object]) -> None:
        """Add rows; the attributes of each are the table's columns."""

    async def upsert(self, table: Table, rows: Sequence[object]) -> None:
        """Add rows, or replace those of the same key."""

    async def delete(self, table: Table, keys: Sequence[tuple[object, ...]]) -> None:
        """Delete rows by key."""

    async def delete_above(self, table: Table, number: int) -> None:
        """Delete the rows of blocks above a height."""

    async def clear(self, table: Table, least: tuple[str, int] | None = None) -> None:
        """Delete the rows whose column is at least so much; all, if `least` is None."""

    async def delete_below(self, table: Table, number: int) -> None:
        """Delete the rows of blocks below a height."""

    async def trim_outbox(self, number: int) -> None:
        """Delete the newest bundle about the highest block below a height, and all older.

        By seq: what is kept has no gap, also where a retracted branch was higher. What is newer
        than the cursor's `linked_seq` stays: it may be the only place that names its channel.
        """

    async def retract_blocks(self, number: int) -> None:
        """Blocks above a height are canonical no more."""

    async def promote_blocks(self, number: int, finality: Promotion) -> None:
        """Canonical blocks up to a height are safe, or final: what is final stays so."""

    async def set_links(self, newest: Mapping[str, int]) -> None:
        """Save the newest seq of these channels. The cursor says as of which seq that is all."""

    async def notify(self) -> None:
        """Tell the relay, once the transaction is committed, that the outbox has grown."""

    async def forward(self) -> None:
        """Let the database begin what was asked so far, while the rest is made ready.

        Between two of these, what is deleted from a table and what is added to it have other keys.
        """

    # -- indexes and keys, each in a transaction of its own ----------------------------------------

    async def drop_indexes(self, indexes: Sequence[Index]) -> bool:
        """Drop them, or (because of somebody who reads just now) none: whether it was done."""

    async def create_indexes(self, indexes: Sequence[Index]) -> None:
        """Build them; one that is there stays."""

    async def close(self) -> None: ...
