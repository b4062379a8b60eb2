"""What each kind of channel begins with, read from Postgres in the words of its messages."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from indexer.domain.balance import Balance
from indexer.domain.change import OrderChange
from indexer.domain.order import Candle, Order, Trade
from indexer.payloads import balance_data, candle_data, order_data, report_data, trade_data
from indexer.store import relations as t
from indexer.topics import Topic

FACTS = 50
"""Newest trades or reports of a snapshot."""
CANDLES = 2
OPEN_ORDERS = 1_000
"""Newest open orders of a snapshot."""


async def read_items(connection: AsyncConnection, topic: Topic) -> dict[str, Any]:
    """The snapshot of any channel but `depth`, whose books the gateway keeps."""
    match topic.stream:
        case "trades":
            return {"trades": await _trades(connection, topic.subject)}
        case "klines":
            return {"candles": await _candles(connection, topic.subject)}
        case "orders":
            return {"orders": await _orders(connection, topic.subject)}
        case "balances":
            return {"balances": await _balances(connection, topic.subject)}
        case "execution_reports":
            return {"reports": await _reports(connection, topic.subject)}
        case _:
            return {}


async def _trades(connection: AsyncConnection, market: str) -> list[dict[str, Any]]:
    trade = t.trades.c
    newest = (
        select(*(trade[name] for name in Trade.__struct_fields__))
        .where(trade.market == market)
        .order_by(trade.block_number.desc(), trade.log_index.desc())
        .limit(FACTS)
    )
    return [trade_data(Trade(*tuple(row))) for row in await connection.execute(newest)]


async def _candles(connection: AsyncConnection, market: str) -> list[dict[str, Any]]:
    candle = t.candles.c
    newest = (
        select(*(candle[name] for name in Candle.__struct_fields__))
        .where(candle.market == market)
        .order_by(candle.open_time.desc())
        .limit(CANDLES)
    )
    candles = [Candle(*tuple(row)) for row in await connection.execute(newest)]
    return [{"open_time": one.open_time, "candle": candle_data(one)} for one in candles]


async def _orders(connection: AsyncConnection, account: str) -> list[dict[str, Any]]:
    order = t.orders.c
    newest = (
        select(*(order[name] for name in Order.__struct_fields__))
        .where(
            order.account == account,
            order.type == "limit",  # what a market order did not fill never rests
            order.status.in_(("open", "partially_filled")),
        )
        .order_by(order.placed_block.desc(), order.placed_log_index.desc())
        .limit(OPEN_ORDERS)
    )
    orders = [Order(*tuple(row)) for row in await connection.execute(newest)]
    return [
        {"market": one.market, "order_id": one.order_id, "order": order_data(one)} for one in orders
    ]


async def _balances(connection: AsyncConnection, account: str) -> list[dict[str, Any]]:
    balance = t.balances.c
    all_of_them = select(*(balance[name] for name in Balance.__struct_fields__)).where(
        balance.account == account
    )
    held = [Balance(*tuple(row)) for row in await connection.execute(all_of_them)]
    return [{"token": one.token, "balance": balance_data(one)} for one in held]


async def _reports(connection: AsyncConnection, account: str) -> list[dict[str, Any]]:
    change, order = t.order_changes.c, t.orders.c
    newest = (
        select(
            *(change[name] for name in OrderChange.__struct_fields__),
            *(order[name] for name in Order.__struct_fields__),
        )
        .join_from(
            t.order_changes,
            t.orders,
            (order.market == change.market) & (order.order_id == change.order_id),
        )
        .where(change.account == account)
        .order_by(change.block_number.desc(), change.ordinal.desc())
        .limit(FACTS)
    )
    split = len(OrderChange.__struct_fields__)
    rows = [tuple(row) for row in await connection.execute(newest)]
    return [report_data(OrderChange(*row[:split]), Order(*row[split:])) for row in rows]
