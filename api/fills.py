"""Fills, which are trades as one order saw them, and the orders that wait for theirs."""

import strawberry
from sqlalchemy import select, tuple_

from api import types, waiting
from api.arguments import Cursor
from api.filters import FillFilter, condition
from api.lists import Listed, Reading
from api.scalars import Long
from indexer.domain.order import Order
from indexer.domain.units import Address, to_decimal
from indexer.store import relations as t
from indexer.store.snapshot import Snapshot


@strawberry.type(description="A trade as one of its two orders saw it.")
class Fill:
    cursor: str = strawberry.field(description="Pass as `after` to get what is older than this.")
    market: types.Market
    order_id: Long
    block_number: Long
    log_index: int
    tx: str
    price: str
    quantity: str
    quote_amount: str
    fee: str | None = strawberry.field(description="Of the token that the order received.")
    is_maker: bool


FILTERED = {
    "price": "trade_price",
    "quantity": "trade_quantity",
    "quote_amount": "trade_quote_amount",
    "block_number": "block_number",
    "order_id": "order_id",
    "tx": "tx",
}
"""What a filter names, and the columns of order changes that hold it."""


async def read(
    context: Reading,
    *,
    account: Address,
    market: Address | None,
    after: Cursor | None,
    limit: int,
    at: int | None = None,
    where: FillFilter | None = None,
) -> list[Fill]:
    """An account's fills up to block `at`, newest first."""
    c, o = t.order_changes.c, t.orders.c
    statement = (
        select(t.order_changes, o.side)
        .join(t.orders, (o.market == c.market) & (o.order_id == c.order_id))
        .where(c.account == account, c.kind == "traded")
        .order_by(c.block_number.desc(), c.ordinal.desc())
        .limit(limit)
    )
    if market is not None:
        statement = statement.where(c.market == market)
    if at is not None:
        statement = statement.where(c.block_number <= at)
    if where is not None:
        columns = {name: c[of] for name, of in FILTERED.items()}
        statement = statement.where(condition(where, columns))
    if after is not None:
        statement = statement.where(tuple_(c.block_number, c.ordinal) < after)
    found = await context.snapshot.read(statement)
    listed = await Listed.of(context, {row.market for row in found})
    rows = []
    for row in found:
        listing, told = listed[row.market]
        received = listing.base if row.side == "buy" else listing.quote
        rows.append(
            Fill(
                cursor=str(Cursor(row.block_number, row.ordinal)),
                market=told,
                order_id=Long(row.order_id),
                block_number=Long(row.block_number),
                log_index=row.log_index,
                tx=row.tx,
                price=listing.price(row.trade_price),
                quantity=listing.quantity(row.trade_quantity),
                quote_amount=listing.quote_amount(row.trade_quote_amount),
                fee=None if row.trade_fee is None else to_decimal(row.trade_fee, received.decimals),
                is_maker=bool(row.is_maker),
            )
        )
    return rows


async def queued(snapshot: Snapshot, market: Address, side: str, limit: int) -> list[Order]:
    """The orders that takers can reach on one side, best price first, then oldest first."""
    values = {"market": market, "side": side, "most": limit}
    return [Order(**row) for row in await snapshot.read(waiting.SIDES[side], values)]
