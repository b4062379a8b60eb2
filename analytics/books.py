"""A market's book block by block: what each block left of its top and depth, as one row.

`Books` is fed levels as they are after a block, which is how both Postgres and the streams tell
them; taken back, it is fed them as they were before. So it needs no undo of its own.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

from analytics.micro import BANDS_BPS, Top, depth, order_flow
from indexer.domain.order import Side
from indexer.domain.units import Address


class LevelRow(NamedTuple):
    """A level after a block that touched it; quantity 0 when it went."""

    block_number: int
    timestamp: int
    side: Side
    price: int
    quantity: int


class TopRow(NamedTuple):
    """A market's book at the end of a block that touched it."""

    market: Address
    block_number: int
    timestamp: int
    bid: int | None
    bid_quantity: int
    ask: int | None
    ask_quantity: int
    bid_depth: list[int]
    """Quote units within each of BANDS_BPS; empty where there is no mid."""
    ask_depth: list[int]
    order_flow: int
    """Cont, Kukanov and Stoikov's e_n against the row before; 0 for the first."""

    @property
    def top(self) -> Top:
        return Top(self.bid, self.bid_quantity, self.ask, self.ask_quantity)


class BookState:
    """One market's levels now."""

    def __init__(self, market: Address, base_unit: int) -> None:
        self.market = market
        self._base_unit = base_unit
        self._sides: dict[Side, dict[int, int]] = {"buy": {}, "sell": {}}

    def set(self, side: Side, price: int, quantity: int) -> bool:
        """Whether that is new: a level that only its contract touched makes no row."""
        levels = self._sides[side]
        if levels.get(price, 0) == quantity:
            return False
        if quantity:
            levels[price] = quantity
        else:
            del levels[price]
        return True

    def levels(self, side: Side) -> list[tuple[int, int]]:
        """Best first."""
        return sorted(self._sides[side].items(), reverse=side == "buy")

    def top(self) -> Top:
        bids, asks = self._sides["buy"], self._sides["sell"]
        bid, ask = max(bids, default=None), min(asks, default=None)
        return Top(bid, 0 if bid is None else bids[bid], ask, 0 if ask is None else asks[ask])

    def row(self, block_number: int, timestamp: int, before: Top | None) -> TopRow:
        """The book as it is, as the row of a block."""
        bids, asks = self.levels("buy"), self.levels("sell")
        top = self.top()
        mid = top.mid
        bands = () if mid is None else BANDS_BPS
        return TopRow(
            self.market,
            block_number,
            timestamp,
            *top,
            [depth(bids, mid, bps, self._base_unit) for bps in bands if mid is not None],
            [depth(asks, mid, bps, self._base_unit) for bps in bands if mid is not None],
            order_flow(before, top) if before is not None else 0,
        )


def fold_levels(
    book: BookState, levels: Iterable[LevelRow], before: Top | None = None
) -> Iterator[TopRow]:
    """The rows of a market's blocks; `levels` come in the order of their blocks."""
    for (number, timestamp), rows in groupby(levels, lambda row: (row[0], row[1])):
        news = [book.set(row.side, row.price, row.quantity) for row in rows]
        if not any(news):
            continue
        made = book.row(number, timestamp, before)
        before = made.top
        yield made
