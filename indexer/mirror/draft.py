"""A draft of a book: what would become of it, while the book itself stays as it is.

Records are copied when they are first looked at, so a draft costs what an order touches, not what
the book holds.
"""

from collections.abc import Iterator
from itertools import islice
from typing import TypeVar, assert_never

import msgspec

from indexer.domain.effect import Cancel, Close, Effect, Expire, Fill, Revert
from indexer.domain.order import Order
from indexer.domain.units import Quantity, quote_amount
from indexer.mirror.book import Book, settle_status
from indexer.mirror.fees import fee
from indexer.mirror.records import Records
from indexer.mirror.rules.terms import Clean, Run

K = TypeVar("K")
R = TypeVar("R", bound=msgspec.Struct)

MOST_EFFECTS = 100_000
"""Effects of one order that a draft will follow; no block has room for as many."""


class _Rows(dict[K, R]):
    """Rows over other rows: a copy of each is made when it is first read."""

    __slots__ = ("_below", "_gone")

    def __init__(self, below: dict[K, R]) -> None:
        super().__init__()
        self._below = below
        self._gone: set[K] = set()

    def __missing__(self, key: K) -> R:
        if key in self._gone:
            raise KeyError(key)
        row: R = self._below[key].__copy__()  # type: ignore[attr-defined]  # not in the stubs
        self[key] = row
        return row

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or (key in self._below and key not in self._gone)

    def get(self, key: K, default: R | None = None) -> R | None:  # type: ignore[override]
        if key in self:
            return self[key]
        return default

    def __delitem__(self, key: K) -> None:
        self._gone.add(key)
        self.pop(key, None)

    def __setitem__(self, key: K, row: R) -> None:
        self._gone.discard(key)
        super().__setitem__(key, row)

    def __len__(self) -> int:
        return len(self._below) + sum(1 for key in super().__iter__() if key not in self._below)

    def __iter__(self) -> Iterator[K]:
        yield from (key for key in self._below if key not in self._gone)
        yield from (key for key in super().__iter__() if key not in self._below)


class _DraftRecords(Records[K, R]):
    """Records that remember nothing for a rollback: a draft is thrown away."""

    __slots__ = ()

    def __init__(self, below: dict[K, R]) -> None:
        super().__init__()
        self.rows = _Rows(below)

    def touch(self, key: K) -> R:
        return self.rows[key]

    def find(self, key: K) -> R | None:
        return self.rows.get(key)

    def add(self, key: K, row: R) -> R:
        self.rows[key] = row
        return row

    def remove(self, key: K) -> None:
        del self.rows[key]


class Draft(Book):
    """A book on top of another one, which it never changes."""

    def __init__(self, book: Book) -> None:
        self.market = book.market
        self.base = book.base
        self.quote = book.quote
        self.base_unit = book.base_unit
        self.levels_stay = book.levels_stay
        self.orders = _DraftRecords(book.orders.rows)
        self.levels = _DraftRecords(book.levels.rows)
        self.bids = book.bids.copy()
        self.asks = book.asks.copy()
        self.newest = book.newest + 1
        self.rising = book.rising

    def perform(self, taker: Order, effect: Effect | Clean) -> None:
        """Make an effect happen, as the contract would."""
        match effect:
            case Fill(maker_order_id=maker_id, quantity=quantity):
                self._fill(self.orders.touch(maker_id), quantity)
                self._fill(self.orders.touch(taker.order_id), quantity)
            case Expire(order_id=order_id):
                order = self.orders.touch(order_id)
                self.unlink(order)
                order.status = "expired"
            case Cancel(order_id=order_id):
                order = self.orders.touch(order_id)
                self.unlink(order)
                self.clean(order.side, order.price, order)
                order.status = "cancelled"
            case Clean(side=side, price=price):
                self.clean(side, price, taker)
            case Close() | Revert():
                pass
            case _:
                assert_never(effect)

    def _fill(self, order: Order, quantity: Quantity) -> None:
        if order.type == "market":
            order.filled += quantity
            return
        self.fill(order, quantity)
        if order.filled >= order.quantity:
            self.unlink(order)
        settle_status(order)


class Purse:
    """What a taker has available of the token it spends, as its fills are foreseen."""

    def __init__(self, available: int, base_unit: int, maker_rate: int | None) -> None:
        self.available = available
        self._base_unit = base_unit
        self._refund_rate = maker_rate or 0

    def pay(self, taker: Order, effect: Effect | Clean) -> None:
        """A market order pays for a fill out of it; limit orders have locked theirs.

        `maker_rate` is for a taker that receives the fees: what the maker is charged comes back.
        """
        if isinstance(effect, Fill) and taker.type == "market":
            spent: int = effect.quantity
            if taker.side == "buy":
                spent = quote_amount(effect.quantity, effect.price, self._base_unit)
            self.available += fee(spent, self._refund_rate) - spent


def foresee(draft: Draft, run: Run, taker: Order, purse: Purse) -> Iterator[Effect | Clean]:
    """Drive rules over a draft: everything they foresee, each performed before the next."""
    for effect in islice(run, MOST_EFFECTS):
        yield effect
        draft.perform(taker, effect)
        purse.pay(taker, effect)
