"""Microstructure: what a book and its trades say of a market. Prices and quantities are integers.

Ratios of integers are Fractions; None where a side is missing. Basis points are 1/10_000.
"""

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from analytics.ratios import short
from indexer.domain.order import Side
from indexer.domain.units import quote_amount

BPS = 10_000
BANDS_BPS = (5, 10, 25, 50, 100, 200)
"""Distances from mid at which depth is told."""

Levels = Sequence[tuple[int, int]]
"""Price and quantity, best first."""


class Top(NamedTuple):
    """The best level of each side; None where a side is empty."""

    bid: int | None
    bid_quantity: int
    ask: int | None
    ask_quantity: int

    @property
    def mid(self) -> Fraction | None:
        if self.bid is None or self.ask is None:
            return None
        return Fraction(self.bid + self.ask, 2)


def spread_bps(top: Top) -> Fraction | None:
    """The quoted spread in basis points of mid."""
    if top.bid is None or top.ask is None:
        return None
    return Fraction(2 * BPS * (top.ask - top.bid), top.bid + top.ask)


def microprice(top: Top) -> Fraction | None:
    """Mid, weighted towards the side with less behind it."""
    both = top.bid_quantity + top.ask_quantity
    if top.bid is None or top.ask is None or not both:
        return None
    return Fraction(top.bid * top.ask_quantity + top.ask * top.bid_quantity, both)


def imbalance(bid_quantity: int, ask_quantity: int) -> Fraction | None:
    """From -1 (only asks) to 1 (only bids)."""
    both = bid_quantity + ask_quantity
    return Fraction(bid_quantity - ask_quantity, both) if both else None


def order_flow(before: Top, after: Top) -> int:
    """Cont, Kukanov and Stoikov's e_n: what one change of the top added to demand, in quantity.

    An empty side counts as a price nobody would better.
    """
    bid0, bid1 = before.bid or 0, after.bid or 0
    ask0 = math.inf if before.ask is None else before.ask
    ask1 = math.inf if after.ask is None else after.ask
    flow = 0
    if bid1 >= bid0:
        flow += after.bid_quantity
    if bid1 <= bid0:
        flow -= before.bid_quantity
    if ask1 <= ask0:
        flow -= after.ask_quantity
    if ask1 >= ask0:
        flow += before.ask_quantity
    return flow


def order_flow_imbalance(tops: Sequence[Top]) -> int:
    """The sum of e_n over successive tops."""
    return sum(order_flow(a, b) for a, b in pairwise(tops))


def effective_spread_bps(price: int, mid: Fraction) -> Fraction:
    """Twice the distance of a trade from the mid before it."""
    return 2 * BPS * abs(price - mid) / mid


def realised_spread_bps(price: int, mid: Fraction, later: Fraction, taker_side: Side) -> Fraction:
    """What of the effective spread was left to the maker at a later mid; the rest was impact."""
    return -2 * BPS * markout(price, later, taker_side) / mid


def markout(price: int, mid_after: Fraction, taker_side: Side) -> Fraction:
    """What the taker gained a unit once the mid had moved; the maker lost as much."""
    return mid_after - price if taker_side == "buy" else price - mid_after


def vwap(trades: Iterable[tuple[int, int]]) -> Fraction | None:
    """Mean price weighted by quantity, of (price, quantity)."""
    value = quantity = 0
    for price, amount in trades:
        value += price * amount
        quantity += amount
    return Fraction(value, quantity) if quantity else None


def time_mean(samples: Sequence[tuple[int, Fraction | int | None]], until: int) -> Fraction | None:
    """Mean of a step function by time: each (timestamp, value) holds until the next.

    Time without a value does not count. With no time at all, the last value.
    """
    total: Fraction | int = 0  # integers, if all samples are: a quarter of the time
    length = 0
    ends = [*(at for at, _ in samples[1:]), until]
    for (begin, value), end in zip(samples, ends, strict=False):
        if value is not None and end > begin:
            total += value * (end - begin)
            if isinstance(total, Fraction):
                total = short(total)
            length += end - begin
    if length:
        return Fraction(total) / length
    last = next((value for _, value in reversed(samples) if value is not None), None)
    return None if last is None else Fraction(last)


def amihud(days: Sequence[tuple[float, int]]) -> float | None:
    """Mean of |return| by quote volume, of (return, whole quote tokens), over days that traded."""
    ratios = [abs(r) / volume for r, volume in days if volume]
    return math.fsum(ratios) / len(ratios) if ratios else None


def kyle(moves: Sequence[tuple[float, float]]) -> float | None:
    """Kyle's lambda: the slope of a least squares line through (signed volume, change of mid)."""
    if len(moves) < 3:
        return None
    mean_x = math.fsum(x for x, _ in moves) / len(moves)
    mean_y = math.fsum(y for _, y in moves) / len(moves)
    variance = math.fsum((x - mean_x) ** 2 for x, _ in moves)
    together = math.fsum((x - mean_x) * (y - mean_y) for x, y in moves)
    return together / variance if variance else None


VPIN_BUCKETS = 50


def vpin(volumes: Sequence[int], buckets: int = VPIN_BUCKETS) -> Fraction | None:
    """Mean imbalance of buckets of equal volume; a trade may fill several. None for too few trades.

    `volumes` are signed by taker side, positive for buys. The sides are known here, so nothing has
    to be guessed from prices.
    """
    size = sum(map(abs, volumes))  # of a bucket, in units of 1/buckets
    if len(volumes) < buckets or not size:
        return None
    imbalances, net, room = 0, 0, size
    for volume in volumes:
        left, sign = abs(volume) * buckets, 1 if volume > 0 else -1
        while left >= room:
            imbalances += abs(net + sign * room)
            left, net, room = left - room, 0, size
        net += sign * left
        room -= left
    return Fraction(imbalances, size * buckets)


def roll(prices: Sequence[int]) -> float | None:
    """Roll's spread 2*sqrt(-cov) of successive price changes; None where they do not bounce."""
    changes = [float(b - a) for a, b in pairwise(prices)]
    if len(changes) < 3:
        return None
    a, b = changes[:-1], changes[1:]
    mean_a, mean_b = math.fsum(a) / len(a), math.fsum(b) / len(b)
    pairs = zip(a, b, strict=True)
    covariance = math.fsum((x - mean_a) * (y - mean_b) for x, y in pairs) / (len(a) - 1)
    return 2 * math.sqrt(-covariance) if covariance < 0 else None


def within(levels: Levels, mid: Fraction, bps: int) -> list[tuple[int, int]]:
    """The levels of one side that are no further from mid than `bps`."""
    parts, reach = mid.denominator, mid.numerator * bps  # all whole numbers: this runs often
    return [lv for lv in levels if abs(lv[0] * parts - mid.numerator) * BPS <= reach]


def depth(levels: Levels, mid: Fraction, bps: int, base_unit: int) -> int:
    """What one side offers within `bps` of mid, in quote units: each level rounded down."""
    return sum(quote_amount(q, p, base_unit) for p, q in within(levels, mid, bps))


class Walk(NamedTuple):
    """What a taker's quantity would meet in a book."""

    filled: int
    quote_amount: int
    worst: int | None
    levels: int


def walk(levels: Levels, quantity: int, base_unit: int) -> Walk:
    """Take a quantity from one side, best level first, fees and own orders aside."""
    left, amount, worst, met = quantity, 0, None, 0
    for price, offered in levels:
        if not left:
            break
        part = min(left, offered)
        amount += quote_amount(part, price, base_unit)
        left, worst, met = left - part, price, met + 1
    return Walk(quantity - left, amount, worst, met)
