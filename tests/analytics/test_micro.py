"""Microstructure: the published vectors (prices in hundredths, quantities in hundredths)."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics import micro
from analytics.market_figures import mean
from analytics.micro import Top
from analytics.ratios import EXACT_BITS

TOP = Top(10020, 75, 10025, 150)


def test_a_top() -> None:
    assert TOP.mid == Fraction(100225, 10)
    assert float(micro.spread_bps(TOP) or 0) == pytest.approx(4.988775, abs=5e-7)
    assert float(micro.microprice(TOP) or 0) / 100 == pytest.approx(100.216667, abs=5e-7)
    assert micro.imbalance(75, 150) == Fraction(-1, 3)


def test_half_a_book_has_no_mid() -> None:
    half = Top(10020, 75, None, 0)
    assert (half.mid, micro.spread_bps(half), micro.microprice(half)) == (None, None, None)


def test_prices_of_trades() -> None:
    traded = micro.vwap([(10025, 150), (10030, 2), (10020, 50)])
    assert float(traded or 0) / 100 == pytest.approx(100.238119, abs=5e-7)
    effective = micro.effective_spread_bps(10030, Fraction(100225, 10))
    assert float(effective) == pytest.approx(14.966326, abs=5e-7)
    assert micro.markout(10030, Fraction(10040), "buy") == 10
    assert micro.markout(10030, Fraction(10040), "sell") == -10


def test_illiquidity() -> None:
    days = [(0.01, 10**6), (0.02, 5 * 10**5), (0.03, 2 * 10**6), (0.5, 0)]
    assert (micro.amihud(days) or 0) * 10**6 == pytest.approx(0.0216667, abs=5e-8)
    assert micro.amihud([]) is None


def test_the_effective_spread_is_what_the_maker_kept_and_the_impact() -> None:
    mid, later = Fraction(10000), Fraction(10010)
    assert micro.effective_spread_bps(10020, mid) == 40
    assert micro.realised_spread_bps(10020, mid, later, "buy") == 20
    assert micro.realised_spread_bps(9980, mid, later, "sell") == 60


def test_kyles_lambda_is_the_slope() -> None:
    moves = [(-2.0, -0.5), (0.0, 0.5), (2.0, 1.5), (4.0, 2.5)]
    assert micro.kyle(moves) == pytest.approx(0.5)
    assert micro.kyle(moves[:2]) is None
    assert micro.kyle([(1.0, 0.1)] * 5) is None


def test_vpin_fills_equal_buckets() -> None:
    """Volume 12 in two buckets of 6: +4 -2 | -1 +3 +2 (the sell of 3 fills both)."""
    assert micro.vpin([4, -3, 3, 2], 2) == Fraction(abs(4 - 2) + abs(-1 + 3 + 2), 12)
    assert micro.vpin([5] * 10, 10) == 1
    assert micro.vpin([5, -5] * 10, 10) == 0
    assert micro.vpin([5], 2) is None


def test_order_flow_imbalance() -> None:
    tops = [
        Top(10000, 5, 10010, 4),
        Top(10000, 7, 10010, 4),
        Top(10010, 2, 10020, 6),
        Top(10010, 2, 10015, 1),
    ]
    assert [micro.order_flow(a, b) for a, b in pairwise(tops)] == [2, 6, -1]
    assert micro.order_flow_imbalance(tops) == 7


def test_a_time_mean_weighs_by_time_and_leaves_out_the_unknown() -> None:
    samples = [(0, Fraction(1)), (10, None), (20, Fraction(4))]
    assert micro.time_mean(samples, 30) == Fraction(5, 2)
    assert micro.time_mean([(5, Fraction(3))], 5) == 3
    assert micro.time_mean([], 5) is None


def test_a_mean_of_many_different_ratios_stays_short() -> None:
    """Exact, it would have as many digits as there were prices, and time for nothing else."""
    spreads = [
        micro.spread_bps(micro.Top(price, 1, price + 3, 1)) for price in range(10**5, 11 * 10**4)
    ]
    found = micro.time_mean(list(enumerate(spreads)), len(spreads))
    assert found is not None
    assert found.denominator.bit_length() <= 2 * EXACT_BITS
    some = [one for one in spreads[:500] if one is not None]
    assert mean(some) == pytest.approx(sum(some) / 500, rel=1e-15)


def test_depth_and_a_walk() -> None:
    asks = [(10025, 150), (10030, 2), (10100, 1200)]
    mid = Fraction(100225, 10)
    assert micro.depth(asks, mid, 5, 1) == 150 * 10025
    assert micro.depth(asks, mid, 10, 1) == 150 * 10025 + 2 * 10030
    assert micro.walk(asks, 151, 1) == (151, 150 * 10025 + 10030, 10030, 2)
    assert micro.walk(asks, 5000, 1).filled == 1352


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 10**6)), max_size=20))
def test_depth_grows_with_the_band(levels: list[tuple[int, int]]) -> None:
    depths = [micro.depth(levels, Fraction(5 * 10**5), bps, 1) for bps in micro.BANDS_BPS]
    assert depths == sorted(depths)
