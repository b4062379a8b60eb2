"""Candles and ends of a market's trades, read from Postgres when somebody listens."""

from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncEngine

from indexer.domain.order import Candle
from indexer.domain.trade_ids import trade_id
from indexer.domain.units import Address
from indexer.store import relations as t


async def read_candle(
    engine: AsyncEngine, market: Address, since: int, until: int
) -> Candle | None:
    """The market's trades of `[since, until)` seconds as one candle; None if there were none.

    Whole minutes are sums of those that are kept; any other span is a sum of its trades.
    """
    sums = _trades if since % 60 or until % 60 else _minutes
    async with engine.connect() as connection:
        row = (await connection.execute(sums(market, since, until))).one()
    if row[0] is None:
        return None
    first, high, low, last, *rest = (int(value) for value in row)
    return Candle(market, since, first, high, low, last, *rest)  # type: ignore[arg-type]


async def read_trades(
    engine: AsyncEngine, market: Address, since: int, until: int
) -> list[tuple[int, int, int]]:
    """The first and the last trade of a span: number, quantity and time in seconds."""
    trade = t.trades.c
    span = (trade.market == market, trade.timestamp >= since, trade.timestamp < until)
    one = select(trade.block_number, trade.log_index, trade.quantity, trade.timestamp).where(*span)
    ends = []
    async with engine.connect() as connection:
        for order in (
            (trade.timestamp, trade.block_number, trade.log_index),
            (trade.timestamp.desc(), trade.block_number.desc(), trade.log_index.desc()),
        ):
            for row in await connection.execute(one.order_by(*order).limit(1)):
                ends.append((trade_id(row[0], row[1]), row[2], row[3]))
    return ends


def _minutes(market: Address, since: int, until: int) -> Select[Any]:
    """Sums over the minutes that are kept."""
    candle = t.candles.c
    return select(
        _end(candle.open, candle.open_time),
        func.max(candle.high),
        func.min(candle.low),
        _end(candle.close, candle.open_time.desc()),
        func.sum(candle.volume),
        func.sum(candle.quote_volume),
        func.sum(candle.taker_buy_volume),
        func.sum(candle.taker_buy_quote_volume),
        func.sum(candle.trades),
    ).where(candle.market == market, candle.open_time >= since, candle.open_time < until)


def _trades(market: Address, since: int, until: int) -> Select[Any]:
    """Sums over the trades of a span that minutes do not make up."""
    trade = t.trades.c
    bought = trade.taker_side == "buy"
    first = (trade.block_number, trade.log_index)
    last = (trade.block_number.desc(), trade.log_index.desc())
    return select(
        _end(trade.price, *first),
        func.max(trade.price),
        func.min(trade.price),
        _end(trade.price, *last),
        func.sum(trade.quantity),
        func.sum(trade.quote_amount),
        func.coalesce(func.sum(trade.quantity).filter(bought), 0),
        func.coalesce(func.sum(trade.quote_amount).filter(bought), 0),
        func.count(),
    ).where(trade.market == market, trade.timestamp >= since, trade.timestamp < until)


def _end(column: Any, *order: Any) -> Any:
    """The first value in an order."""
    return func.array_agg(aggregate_order_by(column, *order))[1]
