"""A market's trades as they came, and what those of a period amount to.

A period ends at the newest trade, so its figures are differences of running sums: their time does
not grow with the number of trades.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple

import msgspec

from analytics.memory import Rows
from indexer.domain.order import Side
from indexer.domain.units import Address


class Deal(NamedTuple):
    """What a market's figures need of a trade."""

    block_number: int
    timestamp: int
    price: int
    quantity: int
    quote_amount: int
    taker_side: Side
    maker: Address
    taker: Address


class Traded(msgspec.Struct, frozen=True):
    """What a period's trades amount to."""

    trades: int
    quantity: int
    quote_amount: int
    bought: int
    """Quantity of which the taker bought."""
    accounts: int
    last: int | None
    high: int | None
    low: int | None
    vwap: Fraction | None


def traded(deals: Iterable[Deal]) -> Traded:
    """Counted one by one."""
    rows = list(deals)
    quantity = sum(deal.quantity for deal in rows)
    weighed = sum(deal.price * deal.quantity for deal in rows)
    return Traded(
        len(rows),
        quantity,
        sum(deal.quote_amount for deal in rows),
        sum(deal.quantity for deal in rows if deal.taker_side == "buy"),
        len({who for deal in rows for who in (deal.maker, deal.taker)}),
        rows[-1].price if rows else None,
        max((deal.price for deal in rows), default=None),
        min((deal.price for deal in rows), default=None),
        Fraction(weighed, quantity) if quantity else None,
    )


class Sums(NamedTuple):
    """Over all trades before one."""

    quantity: int = 0
    quote_amount: int = 0
    bought: int = 0
    weighed: int = 0


class Tape(Rows[Deal]):
    """The trades later than `since`, and sums over them."""

    def __init__(self) -> None:
        super().__init__()
        self.since = 0
        """Seconds; only meaningful once it stands somewhere."""
        self._begin()

    def _begin(self) -> None:
        self._sums = [Sums()]
        self._last_seen: dict[Address, int] = {}
        """Of each account the place of its last trade, in the order of places."""
        self._places: list[int] = []
        """Those places, as far as nothing has been added since."""
        self._highs: list[int] = []
        """Places of trades dearer than any later one; so the first in a period is its dearest."""
        self._lows: list[int] = []

    def cover(self, since: int, max_old: int) -> None:
        """Begin anew if a period reaches further back than the tape, or leaves too much unused."""
        if not self.stands or since < self.since or self._first(since) > max_old:
            self.begin(since)

    def begin(self, since: int) -> None:
        """Begin anew, with the trades later than a time."""
        self.stands, self.rows, self.since = [], [], since
        self._begin()

    def cut(self, number: int) -> None:
        rows = self.rows[: self.count(number)]
        self.rows = []
        self._begin()
        self.extend(rows)

    def extend(self, deals: Iterable[Deal]) -> None:
        self._places = []
        for deal in deals:
            at, before = len(self.rows), self._sums[-1]
            self.rows.append(deal)
            self._sums.append(
                Sums(
                    before.quantity + deal.quantity,
                    before.quote_amount + deal.quote_amount,
                    before.bought + (deal.quantity if deal.taker_side == "buy" else 0),
                    before.weighed + deal.price * deal.quantity,
                )
            )
            for account in (deal.maker, deal.taker):
                self._last_seen.pop(account, None)
                self._last_seen[account] = at
            while self._highs and self.rows[self._highs[-1]].price <= deal.price:
                self._highs.pop()
            self._highs.append(at)
            while self._lows and self.rows[self._lows[-1]].price >= deal.price:
                self._lows.pop()
            self._lows.append(at)

    def period(self, since: int, number: int) -> list[Deal]:
        """The trades later than `since`, up to a block."""
        return self.rows[self._first(since) : self.count(number)]

    def _first(self, since: int) -> int:
        return bisect_right(self.rows, since, key=lambda deal: deal.timestamp)

    def traded(self, since: int, number: int) -> Traded:
        """As `traded` would count them."""
        first, end = self._first(since), len(self.rows)
        if first >= end or self.count(number) < end:
            return traded(self.period(since, number))
        then, now = self._sums[first], self._sums[end]
        self._places = self._places or list(self._last_seen.values())
        quantity = now.quantity - then.quantity
        weighed = now.weighed - then.weighed
        return Traded(
            end - first,
            quantity,
            now.quote_amount - then.quote_amount,
            now.bought - then.bought,
            len(self._places) - bisect_left(self._places, first),
            self.rows[-1].price,
            self.rows[self._highs[bisect_left(self._highs, first)]].price,
            self.rows[self._lows[bisect_left(self._lows, first)]].price,
            Fraction(weighed, quantity) if quantity else None,
        )
