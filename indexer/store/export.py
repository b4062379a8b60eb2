"""The state as canonical JSON, read in one snapshot: equal chains give equal bytes."""

from collections import defaultdict
from typing import Any

from indexer.store.errors import NothingIndexed
from indexer.store.postgres import Connection

Json = dict[str, Any]


async def export(connection: Connection, *, history: bool = False) -> Json:
    """Markets with levels, orders and trades, and all balances, at the last indexed block.

    Amounts are text in contract units; addresses lower case. Levels hold what a taker can reach
    from the head of the queue. `history` adds how they came about: tokens, blocks with their
    times, and levels and balances after each block that touched them. Raises NothingIndexed.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        head = await connection.fetchrow(_HEAD)
        if head is None:
            raise NothingIndexed
        levels = await _by_market(connection, _LEVELS)
        orders = await _by_market(connection, _ORDERS)
        trades = await _by_market(connection, _TRADES)
        markets = await connection.fetch(_MARKETS)
        balances = await connection.fetch(_BALANCES)
        past = {
            name: [dict(row) for row in await connection.fetch(query)]
            for name, query in (_HISTORY.items() if history else ())
        }
    return {
        **({"history": past} if history else {}),
        "tidebook": 1,
        "chain_id": head["chain_id"],
        "block": {key: head[key] for key in ("number", "hash", "timestamp")},
        "markets": [
            {
                **market,
                "bids": _side(levels[market["address"]], "buy"),
                "asks": _side(levels[market["address"]], "sell"),
                "orders": orders[market["address"]],
                "trades": trades[market["address"]],
            }
            for market in map(dict, markets)
        ],
        "balances": [dict(row) for row in balances],
    }


async def _by_market(connection: Connection, query: str) -> dict[str, list[Json]]:
    found: dict[str, list[Json]] = defaultdict(list)
    async for row in connection.cursor(query, prefetch=5_000):
        fields = dict(row)
        found[fields.pop("market")].append(fields)
    return found


def _side(levels: list[Json], side: str) -> list[list[str | int]]:
    """Best first: bids from the highest price, asks from the lowest."""
    chosen = [lv for lv in levels if lv["side"] == side]
    chosen.sort(key=lambda lv: int(lv["price"]), reverse=side == "buy")
    return [[lv["price"], lv["quantity"], lv["order_count"]] for lv in chosen]


_HEAD = """
select c.chain_id, b.number, b.hash, b.timestamp
  from tidebook.cursors c join tidebook.blocks b on b.hash = c.block_hash
"""

_MARKETS = """
select address, symbol, base, quote from tidebook.markets order by address
"""

_LEVELS = """
select market, side, price::text, quantity::text, order_count
  from tidebook.levels where quantity > 0
"""

_ORDERS = """
select market, order_id, account, side, type, time_in_force, price::text, quantity::text,
       filled::text, status
  from tidebook.orders order by market, order_id
"""

_TRADES = """
select market, block_number, log_index, tx, price::text, quantity::text, quote_amount::text,
       taker_side, maker_order_id, taker_order_id, maker, taker, maker_fee::text, taker_fee::text,
       verified
  from tidebook.trades order by block_number, log_index
"""

_HISTORY = {
    "tokens": "select address, symbol, decimals from tidebook.tokens order by address",
    "blocks": "select number, timestamp from tidebook.blocks where canonical order by number",
    "levels": """
select market, block_number, side, price::text, quantity::text
  from tidebook.level_changes order by block_number, market, side, price
""",
    "balances": """
select account, token, block_number, log_index, available::text, locked::text, deposited::text,
       withdrawn::text
  from tidebook.balance_changes order by block_number, log_index, token, account
""",
}

_BALANCES = """
select account, token, available::text, locked::text from tidebook.balances order by account, token
"""
