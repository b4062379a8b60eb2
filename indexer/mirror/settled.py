"""The state at the newest final block: what a checkpoint saves."""

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any

from indexer.domain.block import Block
from indexer.domain.order import CANDLE_SECONDS
from indexer.mirror.fold import Mirror

KEYS: dict[str, Callable[[Any], Any]] = {
    "tokens": attrgetter("address"),
    "markets": attrgetter("address"),
    "orders": attrgetter("market", "order_id"),
    "levels": attrgetter("market", "side", "price"),
    "balances": attrgetter("account", "token"),
    "candles": attrgetter("market", "open_time"),
}
"""What identifies a record, by kind: the fields of `Deltas`."""


def settled(mirror: Mirror, final: Block) -> dict[str, list[Any]]:
    """Every record as it stood at `final`, by kind: the head's state with the journal taken back.

    The records are the mirror's own: read them before the next step. Of candles only those that
    a later trade may still touch.
    """
    state = {
        kind: {KEYS[kind](record): record for record in records}
        for kind, records in _records(mirror)
    }
    for applied in reversed(mirror.journal):
        if applied.block.number <= final.number:
            break
        for kind, key in KEYS.items():
            for delta in getattr(applied.deltas, kind):
                if delta.before is None:
                    state[kind].pop(key(delta.record), None)
                else:
                    state[kind][key(delta.record)] = delta.before
    found = {kind: list(records.values()) for kind, records in state.items()}
    minute = final.timestamp // CANDLE_SECONDS * CANDLE_SECONDS
    found["candles"] = [candle for candle in found["candles"] if candle.open_time >= minute]
    return found


def size(mirror: Mirror) -> int:
    """How many records a checkpoint holds, or a few more."""
    books = mirror.books.values()
    named = len(mirror.tokens.rows) + len(mirror.markets.rows) + len(mirror.candles.rows)
    traded = sum(len(book.orders.rows) + len(book.levels.rows) for book in books)
    return named + traded + len(mirror.ledger.balances.rows)


def _records(mirror: Mirror) -> Iterable[tuple[str, list[Any]]]:
    books = mirror.books.values()
    return (
        ("tokens", list(mirror.tokens.rows.values())),
        ("markets", list(mirror.markets.rows.values())),
        ("orders", [order for book in books for order in book.orders.rows.values()]),
        ("levels", [level for book in books for level in book.levels.rows.values()]),
        ("balances", list(mirror.ledger.balances.rows.values())),
        ("candles", list(mirror.candles.rows.values())),
    )
