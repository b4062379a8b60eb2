"""Returns and risk. Money comes in exact; a ratio of two exact amounts leaves as Fraction.

Statistics over many returns are floats: they estimate, they do not count. Each is None where it
is not defined (fewer than two observations, no deviation, no root), never 0.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from analytics.ratios import short

DAY_S = 86_400
YEAR_DAYS = 365
"""Crypto trades every day."""
PERIODS_A_YEAR = {"hour": 24 * YEAR_DAYS, "day": YEAR_DAYS}
MAX_ROOT_STEPS = 200
MAX_GROWTH = 10**100
"""Times an account may multiply. Floats and readers' decimals end not far beyond."""


class Point(NamedTuple):
    """An account's whole value at a time, and the flow that is in it already (in is positive)."""

    timestamp: int
    value: int | Fraction
    flow: int | Fraction = 0


def period_returns(points: Sequence[Point]) -> list[Fraction]:
    """Each point's return since the one before, its own flow taken out.

    From a value of zero nothing can return: that period is left out.
    """
    return [
        (Fraction(point.value) - point.flow) / Fraction(before.value) - 1
        for before, point in pairwise(points)
        if before.value > 0
    ]


def time_weighted(points: Sequence[Point]) -> Fraction | None:
    """TWR: the product of the periods between flows. What the decisions earned.

    None beyond MAX_GROWTH: who takes all but dust away and comes again, often, grows without end.
    """
    returns = period_returns(points)
    if not returns:
        return None
    grown = Fraction(1)
    for one in returns:
        grown = short(grown * (1 + one))
        if abs(grown) > MAX_GROWTH:
            return None
    return grown - 1


def modified_dietz(points: Sequence[Point]) -> Fraction | None:
    """Gain over average capital, each flow weighted by the time it was there."""
    if len(points) < 2 or points[-1].timestamp == points[0].timestamp:
        return None
    first, last = points[0], points[-1]
    length = last.timestamp - first.timestamp
    flows = Fraction(sum(Fraction(p.flow) for p in points[1:]))
    capital = first.value + sum(
        Fraction(last.timestamp - p.timestamp, length) * p.flow for p in points[1:]
    )
    return (last.value - first.value - flows) / capital if capital > 0 else None


class MoneyWeighted(NamedTuple):
    """The internal rate of return over the whole period, and the same as a rate a year."""

    period: float
    annual: float | None
    """None where a year of it is beyond floats."""


def money_weighted(points: Sequence[Point]) -> MoneyWeighted | None:
    """MWR (XIRR): the rate at which the flows in are worth the flows out and the end's value."""
    if len(points) < 2 or points[-1].timestamp == points[0].timestamp:
        return None
    first, last = points[0], points[-1]
    length = last.timestamp - first.timestamp
    flows = [(0.0, float(first.value))]
    flows += [((p.timestamp - first.timestamp) / length, float(p.flow)) for p in points[1:]]
    scale = max(abs(amount) for _, amount in flows) or 1.0

    def excess(growth: float) -> float:
        """The end's value that the flows would have at this growth, less what it is."""
        grown = math.fsum(amount / scale * math.pow(growth, 1 - at) for at, amount in flows)
        return grown - float(last.value) / scale

    low, high = 1e-9, 2.0
    while excess(high) < 0 and high < 1e12:
        high *= 2
    if excess(low) > 0 or excess(high) < 0:
        return None
    for _ in range(MAX_ROOT_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) < 0 else (low, middle)
    growth = (low + high) / 2
    return MoneyWeighted(growth - 1, _annual(growth, length))


def _annual(growth: float, length_s: int) -> float | None:
    try:
        return math.expm1(math.log(growth) * YEAR_DAYS * DAY_S / length_s)
    except (OverflowError, ValueError):
        return None


def mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def deviation(values: Sequence[float]) -> float | None:
    """The sample standard deviation."""
    average = mean(values)
    if average is None or len(values) < 2:
        return None
    return math.sqrt(math.fsum((v - average) ** 2 for v in values) / (len(values) - 1))


def sharpe(returns: Sequence[float], periods: int = 1, risk_free: float = 0.0) -> float | None:
    """Mean excess return by its deviation, times the root of the periods a year."""
    average, spread = mean(returns), deviation(returns)
    if average is None or not spread:
        return None
    return (average - risk_free) / spread * math.sqrt(periods)


def sortino(returns: Sequence[float], periods: int = 1, target: float = 0.0) -> float | None:
    """As Sharpe, with the shortfall below the target over *all* observations."""
    average = mean(returns)
    if average is None or len(returns) < 2:
        return None
    shortfall = math.fsum(min(r - target, 0.0) ** 2 for r in returns) / len(returns)
    return (average - target) / math.sqrt(shortfall) * math.sqrt(periods) if shortfall else None


def calmar(points: Sequence[Point]) -> float | None:
    """The time-weighted return as a rate a year, by the deepest drawdown."""
    total = time_weighted(points)
    fall = max_drawdown([float(one) for one in period_returns(points)])
    length = points[-1].timestamp - points[0].timestamp if points else 0
    if total is None or not fall or not length:
        return None
    annual = _annual(float(1 + total), length)
    return None if annual is None else annual / fall


def max_drawdown(returns: Sequence[float]) -> float | None:
    """The deepest fall from a peak of what one unit, invested at first, has become."""
    if not returns:
        return None
    level = peak = 1.0
    worst = 0.0
    for one in returns:
        level = level * (1 + one)
        peak = max(peak, level)
        worst = max(worst, 1 - level / peak)
    return worst
