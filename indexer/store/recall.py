"""Giving a mirror back what it has forgotten and is about to need."""

from collections.abc import Iterable, Sequence

import msgspec

from indexer.domain.block import BlockRef
from indexer.domain.events import AnyEvent
from indexer.domain.order import Order
from indexer.domain.units import Address
from indexer.mirror.memory import Memory, OrderKey
from indexer.store import tables
from indexer.store.database import Database


class RecalledRow(msgspec.Struct):
    """An order as it came back."""

    market: Address
    order_id: int
    block_number: int
    image: str


async def recall(
    database: Database,
    memory: Memory,
    events: Sequence[AnyEvent],
    known: dict[OrderKey, Order] | None = None,
) -> list[Order]:
    """Bring everything into memory that `events` will come upon; returns what came.

    Mostly nothing does, and nobody is asked. `known` images go before the stored ones.
    """
    stored = known if known is not None else {}
    came: list[Order] = []
    asked: set[OrderKey] = set()
    while True:
        taken, missing = memory.recall(events, stored)
        came += taken
        if not (unasked := missing - asked):
            return came
        asked |= unasked
        for row in await database.orders_behind(_ORDER, sorted(unasked)):
            order = Order(**row)
            stored.setdefault((order.market, order.order_id), order)


def rows(orders: Iterable[Order], block_number: int) -> list[RecalledRow]:
    """What is to be kept of orders that came back before a block."""
    return [
        RecalledRow(o.market, o.order_id, block_number, msgspec.json.encode(o).decode())
        for o in orders
    ]


async def recalled_since(database: Database, ground: BlockRef) -> dict[OrderKey, Order]:
    """Orders as they were at a block, of those that came back into memory behind it.

    An order that a checkpoint does not hold has not changed since, or is among these.
    """
    found: dict[OrderKey, Order] = {}
    columns, least = RecalledRow.__struct_fields__, ("block_number", ground.number + 1)
    for row in await database.read(tables.recalled, columns, least, ("block_number",)):
        order = msgspec.json.decode(row["image"], type=Order)
        if order.placed_block <= ground.number:
            found.setdefault((order.market, order.order_id), order)
    return found


_ORDER = Order.__struct_fields__
