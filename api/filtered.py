"""SQL for lists that hot paths do not know: with a filter, counted, or of orders in the past."""

from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, func, or_, select, tuple_

from api.arguments import Cursor
from api.filters import OrderFilter, TradeFilter, condition
from indexer.domain.order import Order, OrderType, Side, Trade
from indexer.domain.units import Address
from indexer.store import relations as t
from indexer.store.snapshot import Snapshot

CHANGED = {
    "status": "status",
    "filled": "filled",
    "quote_filled": "quote_filled",
    "updated_block": "block_number",
    "updated_log_index": "log_index",
}
"""What changes of an order, and where an order change says it."""


class Asked(msgspec.Struct, frozen=True):
    """What a list is asked for, beside the page."""

    market: Address | None = None
    account: Address | None = None
    at: int | None = None
    where: TradeFilter | OrderFilter | None = None
    statuses: list[str] | None = None
    side: Side | None = None
    type: OrderType | None = None


Listing = tuple[Select[Any], tuple[ColumnElement[Any], ColumnElement[Any]]]
"""All rows asked for, and by what they are ordered."""


def trade_rows(asked: Asked) -> Listing:
    c = t.trades.c
    statement = select(*(c[name] for name in Trade.__struct_fields__))
    if asked.market is not None:
        statement = statement.where(c.market == asked.market)
    if asked.account is not None:
        statement = statement.where(or_(c.maker == asked.account, c.taker == asked.account))
    if asked.at is not None:
        statement = statement.where(c.block_number <= asked.at)
    return statement.where(condition(asked.where, c)), (c.block_number, c.log_index)


def order_rows(asked: Asked) -> Listing:
    """Orders as they are; after block `at` those placed by then, each with its newest change."""
    o, c = t.orders.c, t.order_changes.c
    columns: dict[str, Any] = dict(o)
    source: Any = t.orders
    if asked.at is not None:
        state = (
            select(*(c[name] for name in CHANGED.values()))
            .where(c.market == o.market, c.order_id == o.order_id, c.block_number <= asked.at)
            .order_by(c.block_number.desc(), c.ordinal.desc())
            .limit(1)
            .lateral("state")
        )
        columns |= {name: state.c[of] for name, of in CHANGED.items()}
        source = t.orders.join(state, o.placed_block <= asked.at)
    statement = select(*(columns[name] for name in Order.__struct_fields__)).select_from(source)
    for name in ("market", "account", "side", "type"):
        if (value := getattr(asked, name)) is not None:
            statement = statement.where(o[name] == value)
    if asked.statuses is not None:
        statement = statement.where(columns["status"].in_(asked.statuses))
    statement = statement.where(condition(asked.where, columns))
    return statement, (o.placed_block, o.placed_log_index)


async def trades(snapshot: Snapshot, asked: Asked, after: Cursor | None, limit: int) -> list[Trade]:
    """Trades, newest first."""
    return [Trade(*row) for row in await _page(snapshot, trade_rows(asked), after, limit)]


async def orders(snapshot: Snapshot, asked: Asked, after: Cursor | None, limit: int) -> list[Order]:
    """Orders, newest first by where they were placed."""
    return [Order(*row) for row in await _page(snapshot, order_rows(asked), after, limit)]


async def _page(snapshot: Snapshot, rows: Listing, after: Cursor | None, limit: int) -> Any:
    statement, (block, log) = rows
    if after is not None:
        statement = statement.where(tuple_(block, log) < after)
    return await snapshot.read(statement.order_by(block.desc(), log.desc()).limit(limit))


async def count(snapshot: Snapshot, rows: Listing) -> int:
    """How many there are on all pages: every row is looked at."""
    found = await snapshot.read(select(func.count()).select_from(rows[0].subquery()))
    number: int = found[0][0]
    return number
