"""Candles of every interval: sums of stored minutes, or of trades, in one SQL statement."""

from typing import Any, cast

from sqlalchemy import BigInteger, ColumnElement, extract, func, literal, select, union_all
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
    at: tuple[int, int] | None = None,
) -> list[Candle]:
    """Candles with `since <= open_time < until`, oldest first; only those with trades exist.

    `at` is a past block's number and time: what came after it is left out.

    With `since` the first `limit` from there, else the last `limit`. Seconds are sums of trades,
    everything longer of stored minutes. No more than `limit` candles' worth of minutes is read:
    that many of the nearest ones cannot leave any of the candles asked for incomplete.
    """
    ascending = since is not None
    source: Any
    if interval == "1s":
        source, sums = t.trades, _sums_of_trades
        time = t.trades.c.timestamp
    else:
        source, sums = t.candles if at is None else _minutes_at(market, *at), _sums_of_minutes
        time = source.c.open_time
    bucket = _open_time(interval, time, offset_s)
    nearest = select(bucket.label("bucket"), *source.c).where(source.c.market == market)
    if since is not None:
        nearest = nearest.where(time >= since, bucket >= since)
    if until is not None:
        nearest = nearest.where(time < until + INTERVALS[interval], bucket < until)
    if at is not None and source is t.trades:
        nearest = nearest.where(source.c.block_number <= at[0])
    if source is not t.trades:
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


def _minutes_at(market: Address, number: int, now: int) -> Any:
    """A market's minutes after a past block: the last one from its trades so far."""
    c, tr = t.candles.c, t.trades.c
    minute = now - now % CANDLE_SECONDS
    whole = select(*c).where(c.market == market, c.open_time < minute)
    trades = (
        select(t.trades)
        .where(tr.market == market, tr.timestamp >= minute, tr.block_number <= number)
        .subquery("since")
        .c
    )
    opened = literal(minute, BigInteger).label("open_time")
    last = select(trades.market, opened, *_sums_of_trades(trades)).group_by(trades.market)
    return union_all(whole, last).subquery("minutes")


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
