"""What a token is worth in another, at any block, through markets that exist.

A mark is a market's mid or last price where it was known last, carried forward. A flow that is
older than its market's first price is valued at that first price, and said to be (`later`). Where
no chain of markets leads to the quote token there is no rate: None, and a reason.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Literal

import msgspec

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


class Series:
    """One market's marks, oldest first."""

    def __init__(self, market: Address, marks: Sequence[tuple[int, Fraction]]) -> None:
        self._market = market
        self._blocks = [number for number, _ in marks]
        self._prices = [price for _, price in marks]

    def at(self, block_number: int) -> Mark | None:
        if not self._blocks:
            return None
        at = bisect_right(self._blocks, block_number) - 1
        later = at < 0
        at = max(at, 0)
        return Mark(self._market, self._prices[at], self._blocks[at], later)


class Marks:
    """Rates of every token in one quote token."""

    def __init__(
        self,
        quote: Address,
        markets: Sequence[Market],
        base_units: Mapping[Address, int],
        series: Mapping[Address, Series],
    ) -> None:
        """`base_units`: 10^decimals of each base token; `series` by market."""
        self.quote = quote
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
