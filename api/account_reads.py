"""SQL about one account: its orders with the times of their last change, and its trades."""

from typing import Any

from sqlalchemy import and_, or_, select

from indexer.domain.order import Order, Trade
from indexer.domain.units import Address
from indexer.store import relations as t
from indexer.store.snapshot import Snapshot

WORKING = ("open", "partially_filled", "orphaned")
"""Statuses of limit orders that still hold funds; what a market order did not fill holds none."""

TimedOrder = tuple[Order, int]
"""An order, and when it last changed: unix seconds."""


async def account_orders(
    snapshot: Snapshot,
    *,
    account: Address,
    market: Address | None = None,
    working: bool = False,
    order_id: int | None = None,
    from_id: int | None = None,
    since: int | None = None,
    until: int | None = None,
    limit: int,
) -> list[TimedOrder]:
    """An account's orders, oldest first: the first from `from_id` or `since`, else the newest."""
    o, b = t.orders.c, t.blocks.c
    ascending = from_id is not None or since is not None
    conditions = [o.account == account]
    if market is not None:
        conditions.append(o.market == market)
    if working:
        conditions += [o.type == "limit", o.status.in_(WORKING)]
    if order_id is not None:
        conditions.append(o.order_id == order_id)
    if from_id is not None:
        conditions.append(o.order_id >= from_id)
    if since is not None:
        conditions.append(o.placed_at >= since)
    if until is not None:
        conditions.append(o.placed_at <= until)
    order = (o.placed_block, o.placed_log_index)
    statement = (
        select(*t.orders.c, b.timestamp)
        .select_from(t.orders.outerjoin(t.blocks, and_(b.number == o.updated_block, b.canonical)))
        .where(*conditions)
        .order_by(*(one.asc() if ascending else one.desc() for one in order))
        .limit(limit)
    )
    names = t.orders.c.keys()
    found = []
    for row in await snapshot.read(statement):
        *values, changed = tuple(row)
        one = Order(**dict(zip(names, values, strict=True)))
        found.append((one, one.placed_at if changed is None else changed))
    return found if ascending else found[::-1]


async def account_trades(
    snapshot: Snapshot,
    *,
    account: Address,
    market: Address,
    origin: tuple[int, int] | None,
    order_id: int | None,
    since: int | None,
    until: int | None,
    limit: int,
) -> list[Trade]:
    """An account's trades in a market, oldest first: the first from `origin` or `since`, or newest.

    Each role is read from its own index and no longer than the page, as in `reads.trades`.
    """
    ascending = origin is not None or since is not None

    def role(account_column: Any, order_column: Any) -> Any:
        c = t.trades.c
        conditions = [account_column == account, c.market == market]
        if origin is not None:
            conditions.append(
                or_(
                    c.block_number > origin[0],
                    and_(c.block_number == origin[0], c.log_index >= origin[1]),
                )
            )
        if order_id is not None:
            conditions.append(order_column == order_id)
        if since is not None:
            conditions.append(c.timestamp >= since)
        if until is not None:
            conditions.append(c.timestamp <= until)
        order = (c.block_number, c.log_index)
        return (
            select(t.trades)
            .where(*conditions)
            .order_by(*(one.asc() if ascending else one.desc() for one in order))
            .limit(limit)
            .subquery()
        )

    c = t.trades.c
    both = select(role(c.maker, c.maker_order_id)).union(select(role(c.taker, c.taker_order_id)))
    page = both.subquery("page")
    found = [Trade(**row) for row in await snapshot.read(select(page))]
    found.sort(key=lambda one: (one.block_number, one.log_index))
    return found[:limit] if ascending else found[-limit:]
