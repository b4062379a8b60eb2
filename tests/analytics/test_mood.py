"""Sentiment: z-scores and their sum, by hand."""

import pytest

from analytics.mood import WEIGHTS, component, score


def test_a_component_is_held_against_the_earlier_parts() -> None:
    one = component([1.0, None, 3.0, 2.0, 3.5])
    assert (one.value, one.mean, one.deviation, one.z) == (3.5, 2.0, 1.0, 1.5)
    assert component([1.0, 3.0, 2.0, 99.0]).z == 3  # no further


def test_what_has_no_past_or_no_present_is_none_with_a_reason() -> None:
    for values in ([], [1.0], [1.0, 2.0], [2.0, 2.0, 3.0], [1.0, 2.0, 3.0, None]):
        one = component(values)
        assert one.z is None
        assert one.reason


def test_the_score_weighs_what_is_known() -> None:
    unknown = component([])
    assert score(dict.fromkeys(WEIGHTS, unknown)) is None
    high, low = component([1.0, 3.0, 2.0, 99.0]), component([1.0, 3.0, 2.0, 0.5])
    assert score({"momentum": high, "order_flow": unknown}) == 100
    expected = 50 + 50 * (0.2 * 3 / 3 - 0.3 * 1.5 / 3) / 0.5
    assert score({"momentum": high, "taker_buys": low}) == pytest.approx(expected)
    assert sum(WEIGHTS.values()) == pytest.approx(1)
