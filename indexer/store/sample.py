"""A part of the stored state, to be compared with the contracts' getters; and what differed."""

from collections.abc import Sequence

import msgspec

from indexer.domain.balance import Balance
from indexer.domain.block import Block
from indexer.domain.order import Level, Order
from indexer.mirror.compare import Difference, Limits, Sample
from indexer.store.errors import NothingIndexed
from indexer.store.postgres import Connection
from indexer.store.waiting import OF_MARKET


async def read_sample(connection: Connection, limits: Limits) -> Sample:
    """State at the cursor, in one snapshot. Raises NothingIndexed.

    The best levels, random open orders and balances, and the newest closed orders.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        head = await connection.fetchrow(_HEAD)
        if head is None:
            raise NothingIndexed
        markets = [row["address"] for row in await connection.fetch(_MARKETS)]
        levels = await connection.fetch(_LEVELS, limits.levels)
        orders = []
        for market in markets:
            orders += await connection.fetch(_OPEN, market, limits.open_orders)
            orders += await connection.fetch(_CLOSED, market, limits.closed_orders)
        balances = await connection.fetch(_BALANCES, limits.balances)
    return Sample(
        Block(**head),
        tuple(markets),
        tuple(Level(**row) for row in levels),
        tuple(Order(**row) for row in orders),
        tuple(Balance(**row) for row in balances),
    )


async def newest_blocks(connection: Connection, most: int) -> list[Block]:
    """Our canonical blocks, newest first."""
    return [Block(**row) for row in await connection.fetch(_NEWEST, most)]


async def store_differences(
    connection: Connection, block: Block, found: Sequence[Difference]
) -> int:
    """Keep differences as divergences of kind `state`; how many are new.

    One that is stored and not acknowledged is not stored again. None is stored of a block that is
    not canonical any more.
    """
    new = 0
    async with connection.transaction():
        for one in found:
            new += await connection.execute(
                _STORE,
                one.contract,
                block.number,
                one.order_id,
                msgspec.json.encode({"field": one.field, "value": _text(one.expected)}).decode(),
                msgspec.json.encode({"field": one.field, "value": _text(one.found)}).decode(),
                block.hash,
            ) == "INSERT 0 1"  # fmt: skip
    return new


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)


def _columns(type_: type[msgspec.Struct]) -> str:
    return ", ".join(field.name for field in msgspec.structs.fields(type_))


_BLOCK = "b.number, b.hash, b.parent_hash, b.timestamp"

_HEAD = f"""
select {_BLOCK} from tidebook.cursors c join tidebook.blocks b on b.hash = c.block_hash
"""

_NEWEST = f"""
select {_BLOCK} from tidebook.blocks b where b.canonical order by b.number desc limit $1
"""

_MARKETS = "select address from tidebook.markets order by created_block, created_log_index"

_LEVELS = f"""
select {_columns(Level)} from (
  select *, row_number() over (
           partition by market, side order by case side when 'buy' then -price else price end
         ) as place
    from tidebook.levels where count > 0
) ranked where place <= $1
"""

_OPEN = f"""
select o.* {OF_MARKET} $1 order by random() limit $2
"""

_CLOSED = f"""
select {_columns(Order)} from tidebook.orders
 where market = $1 and not queued and type = 'limit'
 order by placed_block desc, placed_log_index desc limit $2
"""

_BALANCES = f"select {_columns(Balance)} from tidebook.balances order by random() limit $1"

_STORE = """
insert into tidebook.divergences (market, block_number, log_index, tx, order_id, kind,
                                  expected, found)
select $1::bytea, $2::bigint, -1, ''::bytea, $3::bigint, 'state', $4::jsonb, $5::jsonb
 where exists (select from tidebook.blocks where hash = $6::bytea and canonical)
   and not exists (select from tidebook.divergences
                    where market = $1 and kind = 'state' and not acknowledged
                      and found ->> 'field' = $5::jsonb ->> 'field')
"""
