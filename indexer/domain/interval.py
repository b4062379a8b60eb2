"""The sixteen candle intervals, and where each candle of them begins and ends.

All are cut in UTC: whole multiples since 1970, weeks from Monday, months by the calendar; an offset
moves the cut for people elsewhere. Minutes are what is stored. Every longer interval is a sum of
whole minutes, as all lengths and offsets are whole minutes. Seconds alone are sums of trades, whose
times are their blocks' timestamps: whole seconds.
"""

from datetime import UTC, datetime

from indexer.domain.order import Candle

DAY_S = 86_400
FIRST_MONDAY_S = 4 * DAY_S
"""1970 began on a Thursday; weeks begin on Mondays."""

MONTH = "1M"

INTERVALS: dict[str, int] = {
    "1s": 1,
    "1m": 60,
    "3m": 180,
    "5m": 300,
    "15m": 900,
    "30m": 1800,
    "1h": 3600,
    "2h": 7200,
    "4h": 14400,
    "6h": 21600,
    "8h": 28800,
    "12h": 43200,
    "1d": DAY_S,
    "3d": 3 * DAY_S,
    "1w": 7 * DAY_S,
    MONTH: 31 * DAY_S,
}
"""Interval to its greatest length in seconds: only months vary."""


def open_time(interval: str, time: int, offset_s: int = 0) -> int:
    """The opening time of the candle that holds `time`; all in unix seconds.

    `offset_s` is how far a place's clocks are ahead of UTC: its days begin that much earlier.
    """
    local = time + offset_s
    if interval == MONTH:
        at = datetime.fromtimestamp(local, UTC)
        return int(datetime(at.year, at.month, 1, tzinfo=UTC).timestamp()) - offset_s
    start = FIRST_MONDAY_S if interval == "1w" else 0
    return local - (local - start) % INTERVALS[interval] - offset_s


def next_open(interval: str, opened: int, offset_s: int = 0) -> int:
    """The opening time of the candle after the one that opened at `opened`."""
    if interval == MONTH:
        return open_time(interval, opened + INTERVALS[MONTH], offset_s)
    return opened + INTERVALS[interval]


def close_time_ms(interval: str, opened: int, offset_s: int = 0) -> int:
    """The last millisecond of the candle that opened at `opened`."""
    return next_open(interval, opened, offset_s) * 1000 - 1


def join(earlier: Candle, later: Candle) -> Candle:
    """Two candles of one market as one that opened when the earlier did."""
    assert earlier.market == later.market, f"{later.market} joined to {earlier.market}"
    return Candle(
        market=earlier.market,
        open_time=earlier.open_time,
        open=earlier.open,
        high=max(earlier.high, later.high),
        low=min(earlier.low, later.low),
        close=later.close,
        volume=earlier.volume + later.volume,
        quote_volume=earlier.quote_volume + later.quote_volume,
        taker_buy_volume=earlier.taker_buy_volume + later.taker_buy_volume,
        taker_buy_quote_volume=earlier.taker_buy_quote_volume + later.taker_buy_quote_volume,
        trades=earlier.trades + later.trades,
    )
