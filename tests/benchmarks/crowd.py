"""A crowded exchange written straight into the tables: what analytics' bars are measured on.

Fifty markets with the same quote token, a day of blocks, and one account that made 10,000 fills:
each block some of its balances change exactly as its trades say, and every market's top moves.
"""

import json
import random
from collections import defaultdict
from typing import Any

from indexer.domain.units import quote_amount
from indexer.store import postgres

MARKETS = 50
BLOCKS = 10_000
SECONDS_A_BLOCK = 8
FILLS = 10_000
OTHER_TRADES = 90_000
BASE_UNIT, QUOTE_UNIT = 10**18, 10**6
START = 1_700_000_000
SEED = 9


def name(kind: int, number: int, width: int = 20) -> str:
    """An address (or, of 32 bytes, a hash)."""
    return "0x" + bytes([kind]).hex() + number.to_bytes(width - 1, "big").hex()


ACCOUNT = name(0xAC, 0)
QUOTE = name(0x70, 999)


async def fill(database_url: str) -> None:
    """Write it, and mark the database as live at its last block."""
    pick = random.Random(SEED)
    rows: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    _names(rows)
    held: dict[str, list[int]] = {ACCOUNT + QUOTE: [10**15, 10**15]}
    prices = [1_000 * QUOTE_UNIT + market * QUOTE_UNIT for market in range(MARKETS)]
    trades = _schedule(pick)
    for number in range(BLOCKS):
        touched: dict[str, int] = {}
        if number == 0:
            touched[QUOTE] = 0
        for log_index, mine in enumerate(trades[number], 1):
            market = pick.randrange(MARKETS)
            price = prices[market] + pick.randrange(-50, 51) * 10**4
            _trade(rows, pick, (number, log_index, market, price), mine, held, touched)
        for token, log_index in touched.items():
            balance = held.setdefault(ACCOUNT + token, [0, 0])
            rows["balance_changes"].append(
                (ACCOUNT, token, number, log_index, balance[0], 0, balance[1], 0)
            )
        for market in range(number % 5, MARKETS, 5):  # each market's book moves in a fifth
            prices[market] += pick.randrange(-20, 21) * 10**4
            _levels(rows, number, market, prices[market])
    await _write(database_url, rows)


def _names(rows: dict[str, list[tuple[Any, ...]]]) -> None:
    rows["tokens"].append((QUOTE, "USDC", "USDC", 6))
    for market in range(MARKETS):
        base, symbol = name(0x70, market), f"T{market}"
        rows["tokens"].append((base, symbol, symbol, 18))
        address, pool = name(0x3A, market), name(0x3B, market, 32)
        rows["markets"].append(
            (address, f"{symbol}-USDC", pool, base, QUOTE, 0, market, *[None] * 6)
        )
    for number in range(BLOCKS):
        parent = name(0xB1, number - 1 if number else 0, 32)
        finality = "finalized" if number < BLOCKS - 64 else "latest"
        at = START + number * SECONDS_A_BLOCK
        rows["blocks"].append((name(0xB1, number, 32), number, parent, at, finality, True))


def _schedule(pick: random.Random) -> list[list[bool]]:
    """By block, its trades: whether each is the account's."""
    trades: list[list[bool]] = [[] for _ in range(BLOCKS)]
    for at in range(FILLS + OTHER_TRADES):
        trades[pick.randrange(1, BLOCKS)].append(at < FILLS)
    return trades


def _trade(
    rows: dict[str, list[tuple[Any, ...]]],
    pick: random.Random,
    where: tuple[int, int, int, int],
    mine: bool,
    held: dict[str, list[int]],
    touched: dict[str, int],
) -> None:
    number, log_index, market, price = where
    base, quantity = name(0x70, market), pick.randrange(1, 1_000) * 10**15
    amount, buys = quote_amount(quantity, price, BASE_UNIT), pick.random() < 0.5
    other = name(0xAC, pick.randrange(1, 500))
    maker, taker = (ACCOUNT, other) if mine and pick.random() < 0.5 else (other, ACCOUNT)
    if not mine:
        taker = name(0xAC, pick.randrange(500, 1_000))
    elif held.get(ACCOUNT + base, [0])[0] < quantity:  # nothing to sell: it buys
        buys = taker == ACCOUNT
    maker_fee, taker_fee = (amount if buys else quantity) // 1000, (quantity if buys else amount)
    taker_fee = taker_fee // 500
    rows["trades"].append(
        (
            *(number, log_index, name(0x3A, market), name(0x77, number * 1000 + log_index, 32)),
            *(START + number * SECONDS_A_BLOCK, price, quantity, amount),
            *("buy" if buys else "sell", 2 * log_index, 2 * log_index + 1, maker, taker),
            *(maker_fee, taker_fee, True, None),
        )
    )
    if mine:
        bought = buys == (taker == ACCOUNT)
        fee = taker_fee if taker == ACCOUNT else maker_fee
        for token, moved in ((base, quantity), (QUOTE, -amount)):
            moved = moved if bought else -moved
            held.setdefault(ACCOUNT + token, [0, 0])[0] += moved - (fee if moved > 0 else 0)
            touched[token] = log_index


def _levels(rows: dict[str, list[tuple[Any, ...]]], number: int, market: int, price: int) -> None:
    """The whole book moves: one level a side goes, another comes."""
    address = name(0x3A, market)
    at = START + number * SECONDS_A_BLOCK
    for side, away in (("buy", -(10**4)), ("sell", 10**4)):
        old = _before.get((address, side))
        new = price + away
        if old is not None and old != new:
            rows["level_changes"].append((address, side, old, number, 0, 0, 0))
        rows["level_changes"].append((address, side, new, number, 0, 10**18 + number, 1))
        _before[address, side] = new
    bid, ask, depth = price - 10**4, price + 10**4, [10**9] * 6
    rows["analytics_tops"].append(
        (
            *(address, number, at, bid, 10**18 + number, ask, 10**18 + number),
            *(json.dumps(depth), json.dumps(depth), 0),
        )
    )


_before: dict[tuple[str, str], int] = {}


async def append_block(connection: postgres.Connection, number: int) -> None:
    """A block more, in which nothing happened to anybody."""
    at = (number, name(0xB1, number, 32))
    await connection.execute(
        "insert into tidebook.blocks values ($2, $1, $3, $4, 'latest', true)",
        *(*at, name(0xB1, number - 1, 32), START + number * SECONDS_A_BLOCK),
    )
    await connection.execute("update tidebook.cursors set block_number = $1, block_hash = $2", *at)


async def _write(database_url: str, rows: dict[str, list[tuple[Any, ...]]]) -> None:
    connection = await postgres.connect(database_url)
    try:
        for table, values in rows.items():
            places = ", ".join(f"${at}" for at in range(1, len(values[0]) + 1))
            query = f"insert into tidebook.{table} values ({places})"
            await connection.executemany(query, values)
        last = (BLOCKS - 1, name(0xB1, BLOCKS - 1, 32))
        await connection.execute(
            "insert into tidebook.cursors (one, chain_id, deployment, epoch, seq, block_number,"
            " block_hash, live) values (true, 1, '{}', 'e', 1, $1, $2, true)",
            *last,
        )
        await connection.execute(
            "insert into tidebook.analytics_cursor values (true, 'e', 1, $1, $2)", *last
        )
        await connection.execute("analyze")
    finally:
        await connection.close()
