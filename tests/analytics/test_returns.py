"""Returns and risk: the published vectors, and what is not defined is None."""

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics import returns as r
from analytics.limits import MAX_POINTS
from analytics.ratios import EXACT_BITS

DAY = r.DAY_S
POINTS = [r.Point(0, 1000), r.Point(10 * DAY, 1600, 500), r.Point(30 * DAY, 1520)]
DAILY = [0.01, -0.02, 0.03, 0.005, -0.01]


def test_returns() -> None:
    assert r.time_weighted(POINTS) == Fraction(45, 1000)
    assert r.modified_dietz(POINTS) == Fraction(15, 1000)
    rate = r.money_weighted(POINTS)
    assert rate is not None
    assert rate.period == pytest.approx(0.0150093, abs=5e-8)
    assert rate.annual == pytest.approx(0.1987227, abs=5e-8)


def test_risk() -> None:
    assert r.mean(DAILY) == pytest.approx(0.003)
    assert r.deviation(DAILY) == pytest.approx(0.0192354, abs=5e-8)
    assert r.sharpe(DAILY) == pytest.approx(0.155963, abs=5e-7)
    assert r.sharpe(DAILY, 365) == pytest.approx(2.97966, abs=5e-6)
    assert r.sortino(DAILY) == pytest.approx(0.3)
    assert r.sortino(DAILY, 365) == pytest.approx(5.731492, abs=5e-7)
    assert r.max_drawdown(DAILY) == pytest.approx(0.02)


def test_calmar_is_a_years_return_by_the_deepest_fall() -> None:
    points = [r.Point(0, 100), r.Point(100 * DAY, 80), r.Point(365 * DAY, 130)]
    assert r.calmar(points) == pytest.approx(0.3 / 0.2)
    assert r.calmar(points[:1]) is None
    assert r.calmar([points[0], points[2]]) is None  # nothing was lost


def test_what_is_not_defined_is_none() -> None:
    assert r.sharpe([0.01]) is None
    assert r.sharpe([0.01, 0.01]) is None
    assert r.sortino([0.01, 0.02]) is None
    assert r.max_drawdown([]) is None
    assert r.time_weighted(POINTS[:1]) is None
    assert r.time_weighted([r.Point(0, 0), r.Point(1, 5, 5)]) is None
    assert r.modified_dietz([r.Point(0, 0), r.Point(1, 5, 5)]) is None
    assert r.money_weighted(POINTS[:1]) is None


@given(st.lists(st.tuples(st.integers(1, 10**24), st.integers(-(10**12), 10**12)), min_size=2))
def test_a_flow_is_never_a_return(steps: list[tuple[int, int]]) -> None:
    """An account that only receives and sends returns nothing."""
    value, points = 10**13 * len(steps), []
    for at, (_, flow) in enumerate(steps):
        value += flow
        points.append(r.Point(at * DAY, value, flow))
    assert r.time_weighted(points) == 0
    assert r.modified_dietz(points) == 0


def test_a_long_life_is_no_harder_than_a_short_one() -> None:
    """Exact, its denominators would have a hundred thousand digits, and take a minute."""
    chance = random.Random(5)
    value, points = 10**12, []
    for at in range(MAX_POINTS):
        flow = chance.randrange(1, 10**7)
        value += flow + chance.randrange(-(10**9), 10**9)
        points.append(r.Point(at * 3600, value, flow))
    whole = r.time_weighted(points)
    assert whole is not None
    assert whole.denominator.bit_length() <= EXACT_BITS + 1
    exact = r.time_weighted(points[:300])
    by_hand = math.prod((1 + one for one in r.period_returns(points[:300])), start=Fraction(1)) - 1
    assert exact is not None
    assert abs(exact - by_hand) < Fraction(1, 10**100)
    assert r.calmar(points) is not None


def test_an_account_of_dust_may_grow_beyond_telling() -> None:
    """It deposits, loses a fee of a million times what it had, and takes the rest away again."""
    points = [r.Point(at, 1 if at % 2 else 2 * 10**6, -1 if at % 2 else 1) for at in range(2000)]
    assert r.time_weighted(points) is None
    assert r.calmar(points) is None
