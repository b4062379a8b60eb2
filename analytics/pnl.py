"""Profit of any venue's fills, exactly: a pure fold over (side, price, quantity, fee, fee asset).

For replaying what an exchange reports and comparing its own realised profit with ours. Positions
may be short, and one fill may close a position and open the opposite one. Numbers are rational
inside, so nothing is rounded until the caller rounds as its exchange does.

Two conventions of fees are in use, and both are offered:

- `apart` (perpetual futures): realised profit is price against entry, fees are told beside it;
- `capitalised` (spot, and this service's own portfolios): a fee raises the cost of what is opened
  and lowers the proceeds of what is closed. One in the base asset is taken from the quantity too.

Perpetual exchanges average their entries: method `wac`. A position that was there before the first
fill is a fill of its own, at its entry price. A fee in a third asset has no price here;
it is told as it came and is part of no profit.
"""

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Literal, assert_never

import msgspec

from analytics.lots import Method
from indexer.domain.order import Side

Number = Decimal | int | str | Fraction
"""Whatever is exact. Floats are not."""
Fees = Literal["apart", "capitalised"]


class Fill(msgspec.Struct, frozen=True):
    """One fill as a venue reports it; `fee` is what was paid, negative for a rebate."""

    side: Side
    price: Number
    quantity: Number
    fee: Number = 0
    fee_asset: str | None = None
    """None: the quote asset."""


class OpenLot(msgspec.Struct, frozen=True):
    """A quantity opened at once (`wac`: the whole position) and its price."""

    quantity: Fraction
    price: Fraction


class Outcome(msgspec.Struct, frozen=True):
    """What one fill did."""

    realised: Fraction
    """In the quote asset; by the convention of fees asked for."""
    closed: Fraction
    """Quantity that met an open position."""
    position: Fraction
    """After the fill; negative is short."""
    entry: Fraction | None
    """Average price of that position; None when flat."""
    fee: Fraction
    fee_asset: str
    lots: tuple[OpenLot, ...]


def replay(
    fills: Iterable[Fill],
    method: Method,
    fees: Fees = "apart",
    base: str = "base",
    quote: str = "quote",
) -> list[Outcome]:
    """The outcome of each fill, oldest first. Raises ValueError for a float or an empty fill."""
    held = _Position(method)
    outcomes = []
    for fill in fills:
        price, quantity, fee = (_exact(n) for n in (fill.price, fill.quantity, fill.fee))
        if quantity <= 0 or price < 0:
            raise ValueError(f"expected a quantity above 0 and a price, found {fill}")
        asset, sign = fill.fee_asset or quote, 1 if fill.side == "buy" else -1
        paid = fee * price if asset == base else fee if asset == quote else Fraction(0)
        moved, worth = quantity, price
        if fees == "capitalised":
            if asset == base:
                moved = quantity - sign * fee
                if moved <= 0:
                    raise ValueError(f"expected a fee below the quantity, found {fill}")
            worth = (quantity * price + (sign * paid if asset == quote else 0)) / moved
        closed, realised = held.trade(sign * moved, worth)
        outcomes.append(
            Outcome(
                *(realised, closed, held.quantity, held.entry),
                *(fee, asset, tuple(OpenLot(abs(q), p) for q, p in held.lots)),
            )
        )
    return outcomes


def unrealised(outcome: Outcome, mark: Number) -> Fraction:
    """What closing the position at a mark would realise, fees aside."""
    price, sign = _exact(mark), 1 if outcome.position > 0 else -1
    return sum((sign * lot.quantity * (price - lot.price) for lot in outcome.lots), Fraction(0))


def _exact(number: Number) -> Fraction:
    if isinstance(number, float):
        raise ValueError(f"expected an exact number, found the float {number}")
    return Fraction(number)


class _Position:
    """Open lots, all of one sign: (signed quantity, price)."""

    def __init__(self, method: Method) -> None:
        self._method = method
        self.lots: list[tuple[Fraction, Fraction]] = []

    @property
    def quantity(self) -> Fraction:
        return sum((quantity for quantity, _ in self.lots), Fraction(0))

    @property
    def entry(self) -> Fraction | None:
        cost = sum((quantity * price for quantity, price in self.lots), Fraction(0))
        return cost / self.quantity if self.lots else None

    def trade(self, moved: Fraction, price: Fraction) -> tuple[Fraction, Fraction]:
        """Close what is opposite, open with the rest: (quantity closed, realised)."""
        closed = realised = Fraction(0)
        while moved and self.lots and (self.lots[0][0] > 0) != (moved > 0):
            at = self._next()
            held, cost = self.lots[at]
            part = -moved if abs(moved) < abs(held) else held  # of the held lot's sign
            realised += part * (price - cost)
            closed += abs(part)
            moved += part
            self.lots[at] = (held - part, cost)
            if not self.lots[at][0]:
                del self.lots[at]
        if moved:
            self._open(moved, price)
        return closed, realised

    def _open(self, moved: Fraction, price: Fraction) -> None:
        if self._method == "wac" and self.lots:
            held, cost = self.lots.pop()
            moved, price = held + moved, (held * cost + moved * price) / (held + moved)
        self.lots.append((moved, price))

    def _next(self) -> int:
        """The lot that goes first. `hifo` closes what gains least: a short's cheapest."""
        match self._method:
            case "fifo" | "wac":
                return 0
            case "lifo":
                return len(self.lots) - 1
            case "hifo":
                sign = 1 if self.lots[0][0] > 0 else -1
                prices = [sign * price for _, price in self.lots]
                return prices.index(max(prices))
            case _:
                assert_never(self._method)
