"""What one transaction will write, gathered step by step and kept as few rows as it can be.

A record touched by many blocks of a batch is written once, as the last block left it.
"""

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import msgspec

from indexer.domain.balance import Balance
from indexer.domain.block import Block, Finality
from indexer.domain.change import Applied, Deltas, OrderChange
from indexer.domain.logs import Logs
from indexer.domain.order import Level, Trade
from indexer.store import log_rows, tables
from indexer.store.log_rows import LogsRow
from indexer.store.shape import Table
from indexer.store.undo import pack

CURRENT: dict[str, Table] = {
    "tokens": tables.tokens,
    "markets": tables.markets,
    "orders": tables.orders,
    "levels": tables.levels,
    "balances": tables.balances,
    "candles": tables.candles,
}
"""Current-state tables by kind of record: the fields of `Deltas`, in writing order."""


def _key(table: Table) -> Callable[[Any], tuple[Any, ...]]:
    names = table.key.columns
    if len(names) > 1:
        return attrgetter(*names)
    value = attrgetter(*names)
    return lambda record: (value(record),)


KEYS = {kind: _key(table) for kind, table in CURRENT.items()}
"""What tells a record's primary key, by kind."""


class _BlockRow(msgspec.Struct, gc=False):
    hash: str
    number: int
    parent_hash: str
    timestamp: int
    finality: Finality
    canonical: bool = True


class _BookRow(msgspec.Struct, gc=False):
    market: str
    block_number: int
    bids: str
    asks: str


class _QueueRow(msgspec.Struct, gc=False):
    market: str
    side: str
    price: int
    block_number: int
    order_ids: str


class UndoRow(msgspec.Struct, gc=False):
    """What takes a block back (store/undo.py), packed as late as it is written."""

    block_number: int
    deltas: Deltas

    @property
    def images(self) -> str:
        return pack(self.deltas)


class _DivergenceRow(msgspec.Struct):
    market: str
    block_number: int
    log_index: int
    tx: str
    order_id: int
    kind: str
    expected: str | None
    found: str | None


class Batch:
    """Rows to be written together. Empty again after `clear`."""

    def __init__(self) -> None:
        self.current: dict[str, dict[tuple[Any, ...], object | None]] = {}
        """By kind and primary key: the record's last image, None to delete it."""
        self.blocks: list[_BlockRow] = []
        self.logs: list[LogsRow] = []
        self.trades: list[Trade] = []
        self.order_changes: list[OrderChange] = []
        self.level_changes: list[Level] = []
        self.balance_changes: list[Balance] = []
        self.books: list[_BookRow] = []
        self.queues: list[_QueueRow] = []
        self.divergences: list[_DivergenceRow] = []
        self.undo: list[UndoRow] = []
        self.clear()

    def clear(self) -> None:
        self.current = {kind: {} for kind in CURRENT}
        for rows in self.facts().values():
            rows.clear()

    def facts(self) -> dict[Table, list[Any]]:
        """The appended rows, by table."""
        return {
            tables.logs: self.logs,
            tables.trades: self.trades,
            tables.order_changes: self.order_changes,
            tables.level_changes: self.level_changes,
            tables.balance_changes: self.balance_changes,
            tables.books: self.books,
            tables.queues: self.queues,
            tables.divergences: self.divergences,
            tables.undo: self.undo,
        }

    def receive(self, block: Block, logs: Logs | None, finality: Finality) -> None:
        """A block and what it logged, whatever that does."""
        self.blocks.append(
            _BlockRow(block.hash, block.number, block.parent_hash, block.timestamp, finality)
        )
        if logs:
            self.logs.append(log_rows.row(logs))

    def add(self, applied: Applied, *, undo: bool) -> None:
        """Everything a block did; `undo`: with what takes it back."""
        block = applied.block
        self.trades += applied.trades
        self.order_changes += applied.order_changes
        self.divergences += [
            _DivergenceRow(
                one.market,
                one.block_number,
                one.log_index,
                one.tx,
                one.order_id,
                one.kind,
                _image(one.expected),
                _image(one.found),
            )
            for one in applied.divergences
        ]
        self.books += [
            _BookRow(one.market, one.block_number, _text(one.bids), _text(one.asks))
            for one in applied.books
        ]
        self.queues += [
            _QueueRow(one.market, one.side, one.price, one.block_number, _text(one.order_ids))
            for one in applied.queues
        ]
        self.set(applied.deltas)
        self.level_changes += sorted(applied.touched.levels, key=KEYS["levels"])
        self.balance_changes += sorted(applied.touched.balances, key=KEYS["balances"])
        if undo:
            self.undo.append(UndoRow(block.number, applied.deltas))

    def set(self, deltas: Deltas) -> None:
        """Write each record as the deltas leave it: forward, or back."""
        for kind, key in KEYS.items():
            images = self.current[kind]
            for delta in getattr(deltas, kind):
                after = delta.after
                images[key(delta.before if after is None else after)] = after


def _text(values: object) -> str:
    return msgspec.json.encode(values).decode()


def _image(record: msgspec.Struct | None) -> str | None:
    return None if record is None else _text(record)
