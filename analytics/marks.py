"""What a token is worth in another, at any block, through markets that exist.

A mark is a market's mid or last price where it was known last, carried forward. A flow that is
older than its market's first price is valued at that first price, and said to be (`later`). Where
no chain of markets leads to the quote token there is no rate: None, and a reason.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Literal, NamedTuple

import msgspec

from analytics.memory import Rows
from analytics.micro import Top
from indexer.domain.market import Market
from indexer.domain.units import Address

MarkKind = Literal["mid", "last", "executable"]
MAX_HOPS = 3


class Mark(msgspec.Struct, frozen=True):
    """A market's price (quote units for one whole base token) and the block that made it."""

    market: Address
    price: Fraction
    block_number: int
    later: bool = False
    """Its block is after the one asked for: there was no price yet."""


class Rate(msgspec.Struct, frozen=True):
    """Quote-token units for one unit of a token, and the marks it is made of."""

    value: Fraction
    marks: tuple[Mark, ...] = ()

    @property
    def later(self) -> bool:
        return any(mark.later for mark in self.marks)

    def of(self, amount: int) -> int:
        """The value of an amount, rounded toward zero: the one place where marks round."""
        return int(amount * self.value)


class Priced(NamedTuple):
    """A market after a block that changed its book (or traded): the newest price there is."""

    block_number: int
    price: Fraction | None
    priced_at: int
    """The block that made the price."""
    top: Top | None = None
    """The book's, if that is where the price is from."""


class Prices(Rows[Priced]):
    """One market's prices at the blocks that were asked for, oldest first, and its first price.

    Between two rows there may be any number that nobody asked for: only `known` blocks have the
    newest row up to them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.known: set[int] = set()

    @property
    def weight(self) -> int:
        return len(self.rows) + len(self.known)

    @property
    def is_priced(self) -> bool:
        """Then its first price is among the rows."""
        return bool(self.rows) and self.rows[-1].price is not None

    def cut(self, number: int) -> None:
        super().cut(number)
        self.known = {known for known in self.known if known <= number}

    def forget(self) -> None:
        """Begin anew."""
        self.rows, self.known, self.stands = [], set(), []

    def add(self, blocks: Iterable[int], rows: Iterable[Priced]) -> None:
        """The rows that hold at some blocks, in any order, again or not."""
        unique = {row.block_number: row for row in (*self.rows, *rows)}
        self.rows = sorted(unique.values(), key=lambda row: row.block_number)
        self.known.update(blocks)


class Series:
    """A market's prices at the blocks an answer asked for."""

    def __init__(self, market: Address, rows: Sequence[Priced], count: int | None = None) -> None:
        """The first `count` of rows: whoever owns them may append."""
        self._market = market
        self._rows = rows
        self._count = len(rows) if count is None else count

    @property
    def is_priced(self) -> bool:
        newest = self.newest
        return newest is not None and newest.price is not None

    @property
    def newest(self) -> Priced | None:
        return self._rows[self._count - 1] if self._count else None

    def at(self, block_number: int) -> Mark | None:
        at = bisect_right(self._rows, block_number, 0, self._count, key=lambda row: row[0]) - 1
        if at >= 0 and (price := self._rows[at].price) is not None:
            return Mark(self._market, price, self._rows[at].priced_at)
        first = bisect_left(self._rows, True, 0, self._count, key=lambda row: row[1] is not None)
        if first == self._count or (price := self._rows[first].price) is None:
            return None
        return Mark(self._market, price, self._rows[first].priced_at, later=True)


class Marks:
    """Rates of every token in one quote token."""

    def __init__(
        self,
        quote: Address,
        markets: Sequence[Market],
        base_units: Mapping[Address, int],
        series: Mapping[Address, Series],
    ) -> None:
        """`base_units`: 10^decimals of each base token; `series` by market, if it has a price."""
        self.quote = quote
        self.priced = frozenset(series)
        """As long as these markets are the priced ones, what a past block's rate is stays so."""
        self._base_units = base_units
        self._series = series
        self._paths = _paths(quote, [one for one in markets if one.address in series])

    def rate(self, token: Address, block_number: int) -> Rate | None:
        """What one unit of `token` was worth; None where no path of markets leads there."""
        path = self._paths.get(token)
        if path is None:
            return None
        value, marks = Fraction(1), []
        for market, sells_base in path:
            mark = self._series[market.address].at(block_number)
            if mark is None or not mark.price:
                return None
            step = mark.price / self._base_units[market.base]
            value *= step if sells_base else 1 / step
            marks.append(mark)
        return Rate(value, tuple(marks))

    def path(self, token: Address) -> list[Address]:
        """The markets that a token's rate is made of."""
        return [market.address for market, _ in self._paths.get(token, ())]

    def why_not(self, token: Address) -> str:
        """The reason where `rate` is None."""
        if token in self._paths:
            return "a market on the way to the quote token has never had a price"
        return "no market leads from this token to the quote token"


def _paths(
    quote: Address, markets: Sequence[Market]
) -> dict[Address, tuple[tuple[Market, bool], ...]]:
    """Fewest hops from each token to the quote: (market, its base is what is sold)."""
    found: dict[Address, tuple[tuple[Market, bool], ...]] = {quote: ()}
    edge = [quote]
    for _ in range(MAX_HOPS):
        nearer, edge = edge, []
        for known in nearer:
            for market in markets:
                pairs = ((market.base, market.quote, True), (market.quote, market.base, False))
                for sold, got, sells_base in pairs:
                    if got == known and sold not in found:
                        found[sold] = ((market, sells_base), *found[known])
                        edge.append(sold)
    return found
