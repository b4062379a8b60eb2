"""Candles of every interval: sums of stored minutes, or of trades, in one SQL statement."""

from collections.abc import Collection
from functools import partial
from typing import Any, cast

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Select,
    bindparam,
    extract,
    func,
    select,
    union_all,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from indexer.domain.interval import FIRST_MONDAY_S, INTERVALS, MONTH
from indexer.domain.order import CANDLE_SECONDS, Candle
from indexer.domain.units import Address
from indexer.store import relations as t
from indexer.store.columns import Hex, Units
from indexer.store.queries import Shaped
from indexer.store.snapshot import Snapshot

Columns = ReadOnlyColumnCollection[str, Any]


def _open_time(interval: str, time: ColumnElement[int]) -> ColumnElement[int]:
    """The opening time of the candle that holds `time`, as SQL: `interval.open_time` again."""
    if interval == "1s":
        return time  # as it is in the index, so that a page is read and not all there are
    offset_s = _number("offset_s")
    if interval == MONTH:
        month = func.date_trunc("month", func.to_timestamp(time + offset_s), "UTC")
        return sql_cast(extract("epoch", month), BigInteger) - offset_s
    start = FIRST_MONDAY_S if interval == "1w" else 0
    return time - (time + offset_s - start) % INTERVALS[interval]


def _number(name: str) -> BindParameter[int]:
    return bindparam(name, type_=BigInteger)


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
    number, now = at or (None, None)
    query, values = _CANDLES[interval](
        market=market,
        since=since,
        until=until,
        limit=limit,
        minutes=limit * max(INTERVALS[interval] // CANDLE_SECONDS, 1),
        offset_s=offset_s,
        number=number,
        minute=None if now is None else now - now % CANDLE_SECONDS,
    )
    found = [Candle(market, *row) for row in await snapshot.read(query, values)]
    return found if since is not None else found[::-1]


def _select_candles(interval: str, given: Collection[str]) -> Select[Any]:
    ascending, past = "since" in given, "number" in given
    source: Any
    if interval == "1s":
        source, sums = t.trades, _sums_of_trades
        time = t.trades.c.timestamp
    else:
        source, sums = _select_minutes() if past else t.candles, _sums_of_minutes
        time = source.c.open_time
    bucket = _open_time(interval, time)
    nearest = select(bucket.label("bucket"), *source.c)
    nearest = nearest.where(source.c.market == bindparam("market"))
    if ascending:
        nearest = nearest.where(time >= _number("since"), bucket >= _number("since"))
    if "until" in given:
        until = _number("until")
        nearest = nearest.where(time < until + INTERVALS[interval], bucket < until)
    if past and source is t.trades:
        nearest = nearest.where(source.c.block_number <= _number("number"))
    if source is not t.trades:
        nearest = nearest.order_by(time.asc() if ascending else time.desc())
        nearest = nearest.limit(bindparam("minutes"))
    part = nearest.subquery("part").c
    return (
        select(part.bucket.label("open_time"), *sums(part))
        .group_by(part.bucket)
        .order_by(part.bucket.asc() if ascending else part.bucket.desc())
        .limit(bindparam("limit"))
    )


def _select_minutes() -> Any:
    """A market's minutes after a past block: the last one from its trades so far."""
    c, tr = t.candles.c, t.trades.c
    market, minute = bindparam("market", type_=Hex), _number("minute")
    whole = select(*c).where(c.market == market, c.open_time < minute)
    trades = (
        select(t.trades)
        .where(tr.market == market, tr.timestamp >= minute, tr.block_number <= _number("number"))
        .subquery("since")
        .c
    )
    opened = minute.label("open_time")
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
    values = func.array_agg(aggregate_order_by(value, *order), type_=ARRAY(Units()))
    return cast("ColumnElement[int]", values[1])


_CANDLES = {interval: Shaped(partial(_select_candles, interval)) for interval in INTERVALS}
