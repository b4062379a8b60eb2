"""Candles of every interval: sums of stored minutes, or of trades, in one SQL statement."""

from typing import Any, cast

from sqlalchemy import BigInteger, ColumnElement, extract, func, select
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from indexer.domain.interval import FIRST_MONDAY_S, INTERVALS, MONTH
from indexer.domain.order import CANDLE_SECONDS, Candle
from indexer.domain.units import Address
from indexer.store import tables as t
from indexer.store.snapshot import Snapshot

Columns = ReadOnlyColumnCollection[str, Any]


def _open_time(interval: str, time: ColumnElement[int], offset_s: int) -> ColumnElement[int]:
    """The opening time of the candle that holds `time`, as SQL: `interval.open_time` again."""
    if interval == MONTH:
        month = func.date_trunc("month", func.to_timestamp(time + offset_s), "UTC")
        return sql_cast(extract("epoch", month), BigInteger) - offset_s
    start = (FIRST_MONDAY_S if interval == "1w" else 0) - offset_s
    return time - (time - start) % INTERVALS[interval]


async def read_candles(
    snapshot: Snapshot,
    market: Address,
    interval: str,
    *,
    since: int | None,
    until: int | None,
    limit: int,
    offset_s: int = 0,
) -> list[Candle]:
    """Candles with `since <= open_time < until`, oldest first; only those with trades exist.

    With `since` the first `limit` from there, else the last `limit`. Seconds are sums of trades,
    everything longer of stored minutes. No more than `limit` candles' worth of minutes is read:
    that many of the nearest ones cannot leave any of the candles asked for incomplete.
    """
    ascending = since is not None
    if interval == "1s":
        source, time, sums = t.trades, t.trades.c.timestamp, _sums_of_trades
    else:
        source, time, sums = t.candles, t.candles.c.open_time, _sums_of_minutes
    bucket = _open_time(interval, time, offset_s)
    nearest = select(bucket.label("bucket"), *source.c).where(source.c.market == market)
    if since is not None:
        nearest = nearest.where(time >= since, bucket >= since)
    if until is not None:
        nearest = nearest.where(time < until + INTERVALS[interval], bucket < until)
    if source is t.candles:
        minutes = limit * max(INTERVALS[interval] // CANDLE_SECONDS, 1)
        nearest = nearest.order_by(time.asc() if ascending else time.desc()).limit(minutes)
    part = nearest.subquery("part").c
    statement = (
        select(part.bucket.label("open_time"), *sums(part))
        .group_by(part.bucket)
        .order_by(part.bucket.asc() if ascending else part.bucket.desc())
        .limit(limit)
    )
    found = [Candle(market, *tuple(row)) for row in await snapshot.read(statement)]
    return found if ascending else found[::-1]


def _sums_of_minutes(part: Columns) -> list[ColumnElement[Any]]:
    """Stored minutes as one candle, in the order of Candle's fields."""
    return [
        _first(part.open, part.open_time.asc()),
        func.max(part.high),
        func.min(part.low),
        _first(part.close, part.open_time.desc()),
        func.sum(part.volume),
        func.sum(part.quote_volume),
        func.sum(part.taker_buy_volume),
        func.sum(part.taker_buy_quote_volume),
        func.sum(part.trades),
    ]


def _sums_of_trades(part: Columns) -> list[ColumnElement[Any]]:
    """Trades as one candle, in the order of Candle's fields."""
    bought = part.taker_side == "buy"
    return [
        _first(part.price, part.block_number.asc(), part.log_index.asc()),
        func.max(part.price),
        func.min(part.price),
        _first(part.price, part.block_number.desc(), part.log_index.desc()),
        func.sum(part.quantity),
        func.sum(part.quote_amount),
        func.coalesce(func.sum(part.quantity).filter(bought), 0),
        func.coalesce(func.sum(part.quote_amount).filter(bought), 0),
        func.count(),
    ]


def _first(value: ColumnElement[int], *order: ColumnElement[Any]) -> ColumnElement[int]:
    """The value of the group's first row in an order."""
    values = func.array_agg(aggregate_order_by(value, *order), type_=ARRAY(t.Units()))
    return cast("ColumnElement[int]", values[1])
