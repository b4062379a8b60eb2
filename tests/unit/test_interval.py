"""Candles are cut where the calendar says, wherever one lives."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from indexer.domain.interval import INTERVALS, close_time_ms, join, next_open, open_time
from indexer.domain.order import Candle
from indexer.domain.units import Address, Price


def by_calendar(interval: str, time: int) -> int:
    """The cut by the calendar instead of by arithmetic."""
    at = datetime.fromtimestamp(time, UTC)
    day = at.replace(hour=0, minute=0, second=0)
    match interval:
        case "1M":
            return int(day.replace(day=1).timestamp())
        case "1w":
            return int((day - timedelta(days=at.weekday())).timestamp())
        case _:
            return time - time % INTERVALS[interval]


@pytest.mark.parametrize("interval", INTERVALS)
def test_every_second_is_in_exactly_one_candle(interval: str) -> None:
    random = Random(f"cut {interval}")
    for _ in range(200):
        time = random.randrange(4_000_000_000)
        offset_s = random.choice([0, 8 * 3600, -12 * 3600, 19_800])
        opened = open_time(interval, time, offset_s)
        following = next_open(interval, opened, offset_s)
        assert opened <= time < following
        assert open_time(interval, following - 1, offset_s) == opened
        assert open_time(interval, following, offset_s) == following
        assert open_time(interval, time) == by_calendar(interval, time)
        assert opened == by_calendar(interval, time + offset_s) - offset_s
        if interval != "1s":
            assert opened % 60 == 0


def test_a_candle_closes_a_millisecond_before_the_next_opens() -> None:
    february = int(datetime(2024, 2, 1, tzinfo=UTC).timestamp())
    march = int(datetime(2024, 3, 1, tzinfo=UTC).timestamp())
    assert close_time_ms("1M", february) == march * 1000 - 1
    assert close_time_ms("1m", 120) == 179_999


def test_joined_candles_open_with_the_first_and_close_with_the_last() -> None:
    market = Address("0x" + "a1" * 20)
    first = Candle(market, 60, Price(5), Price(9), Price(4), Price(6), 10, 60, 3, 18, 2)
    second = Candle(market, 120, Price(6), Price(7), Price(2), Price(3), 1, 3, 0, 0, 1)
    assert join(first, second) == Candle(
        market, 60, Price(5), Price(9), Price(2), Price(3), 11, 63, 3, 18, 3
    )
