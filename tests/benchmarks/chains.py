"""Synthetic chains for benchmarks: a seed and a number of events decide every byte.

    .venv/bin/python -m tests.benchmarks.chains 300000

Twelve markets of our own contracts (contracts_test/RULES.md) with traders on them: orders go
through the product's fast book, and what comes of them is written as the logs those contracts would
write, in about 58 a block. It opens with markets, deposits and books that fill up (`OPENING`);
from there on books stay as deep as they are, and a longer chain is more of the same. A chain is an
ordinary recording, which `tidebook replay` takes too, and waits in a cache folder
(TIDEBOOK_BENCH_CACHE) once it is made.
"""

import os
import random
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import abis
from indexer.chain import bloom
from indexer.chain.recording import NewRecording, RecordedBlock
from indexer.domain.deployment import Contracts, Deployment, TokenWords
from indexer.domain.log import Log
from indexer.domain.units import Address, Hash
from indexer.mirror.matching.fast import FastBook

FORMAT = 3
"""Raise it when the bytes of a chain change."""
SEED = 6
MARKETS, ACCOUNTS = 12, 200
EVENTS_A_BLOCK, BLOCK_S = 55, 2
"""A block takes txs until it has so many; the last one goes a little beyond."""
BLOCKS_A_PART = 500
"""Blocks given to the compression at once."""

DECIMALS, QUOTE_DECIMALS = 18, 6
WHOLE = 10**DECIMALS
LOT, TICK = 10**15, 10**4
UNIT = LOT * TICK // WHOLE
"""Quote units that a lot costs at the price of one tick."""
MIN_ORDER = 10**4
MAKER_FEE, TAKER_FEE = 1, 2
FUNDS = 10**40
FIRST_TIME = 1_700_000_000
EXPIRY = FIRST_TIME + 20 * 365 * 86_400

TAKES, CANCELS = 0.18, 0.35
"""How often an order comes to trade, and how often one goes."""
MOST_RESTING = 250
"""Orders in a book above which none comes to rest before one goes."""
SPREAD_TICKS = 60
OPENING = 3 * MARKETS + ACCOUNTS * (MARKETS + 1) + 2 * MARKETS * MOST_RESTING
"""Events of the opening, whose mix is another than that of trading."""

_TOPICS = {
    name: max(abi.topic0 for abi in abis.registry().values() if abi.name == name)
    for name in (
        *("PoolCreated", "TradingRulesUpdated", "OrderMatched", "UpdateOrder", "OrderCancelled"),
        *("Deposit", "Lock", "Unlock", "TransferFrom", "TransferLockedFrom"),
    )
}
_TOPICS["OrderPlaced"] = next(
    abi.topic0
    for abi in abis.registry().values()
    if abi.name == "OrderPlaced" and abi.version.startswith("3")
)


def _address(kind: str, number: int = 0) -> Address:
    return Address("0x" + sha256(f"{kind} {number}".encode()).hexdigest()[:40])


POOL_MANAGER, MANAGER, FEES = _address("pools"), _address("balances"), _address("fees")
BOOKS = [_address("book", n) for n in range(MARKETS)]
QUOTE = _address("quote")
BASES = [_address("base", n) for n in range(MARKETS)]
TRADERS = [_address("trader", n) for n in range(ACCOUNTS)]
DEPLOYMENT = Deployment(
    "tidebook",
    31_337_006,
    Contracts(POOL_MANAGER, MANAGER),
    FEES,
    start_block=1,
    fees_per_mille={"maker": MAKER_FEE, "taker": TAKER_FEE},
    tokens={
        QUOTE: TokenWords("USD", "Synthetic dollar", QUOTE_DECIMALS),
        **{
            base: TokenWords(f"COIN{n}", f"Synthetic coin {n}", DECIMALS)
            for n, base in enumerate(BASES)
        },
    },
)


class _Resting:
    """What the contract would remember of an order in its book."""

    __slots__ = ("account", "buy", "filled", "quantity", "ticks")

    def __init__(self, account: Address, buy: bool, ticks: int, quantity: int, filled: int) -> None:
        self.account = account
        self.buy = buy
        self.ticks = ticks
        self.quantity = quantity
        self.filled = filled


class _Market:
    def __init__(self, number: int) -> None:
        self.address = BOOKS[number]
        self.base = BASES[number]
        self.book = FastBook()
        self.resting: dict[int, _Resting] = {}
        self.ids: list[int] = []
        """Orders that rested at some time; one that is gone is dropped when it is drawn."""
        self.next_id = 1
        self.mid = 20_000 + 997 * number


Said = tuple[Address, str, tuple[Any, ...], tuple[Any, ...]]
"""Contract, event, indexed words, other words."""


class Traders:
    """Everybody who trades on the chain, and the contracts they trade on."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)
        self._markets = [_Market(number) for number in range(MARKETS)]
        self.now = FIRST_TIME

    def begin(self) -> Iterator[list[Said]]:
        """The txs that create the markets, fund the traders and fill the books."""
        for number, market in enumerate(self._markets):
            pool = sha256(f"pool {number}".encode()).digest()
            rules = (pool,), (LOT, LOT, TICK, MIN_ORDER)
            yield [
                (POOL_MANAGER, "PoolCreated", (pool,), (market.address, market.base, QUOTE)),
                (market.address, "TradingRulesUpdated", *rules),
                (POOL_MANAGER, "TradingRulesUpdated", *rules),
            ]
        for trader in TRADERS:
            yield [(MANAGER, "Deposit", (trader, token), (FUNDS,)) for token in (QUOTE, *BASES)]
        for _ in range(MOST_RESTING):
            for market in self._markets:
                yield self._rest(market, TRADERS[self._draw.randrange(ACCOUNTS)])

    def act(self) -> list[Said]:
        """One tx of somebody's, somewhere."""
        draw = self._draw
        market = self._markets[draw.randrange(MARKETS)]
        account = TRADERS[draw.randrange(ACCOUNTS)]
        chance = draw.random()
        if len(market.resting) > MOST_RESTING and chance > TAKES:
            chance = TAKES
        if chance >= TAKES and chance < TAKES + CANCELS and market.resting:
            return self._cancel(market)
        market.mid = max(5_000, market.mid + draw.choice((-1, 0, 0, 1)))
        if chance >= TAKES:
            return self._rest(market, account)
        buy, lots = self._wish()
        if chance < TAKES / 3 and market.book.meets(buy, None):
            return self._market_order(market, account, buy, lots)
        return self._limit(market, account, buy, market.mid + (8 if buy else -8), lots)

    def _wish(self) -> tuple[bool, int]:
        """Whether somebody buys, and how many lots."""
        return self._draw.random() < 0.5, self._draw.randrange(1, 400)

    def _rest(self, market: _Market, account: Address) -> list[Said]:
        """An order on its own side of the middle."""
        buy, lots = self._wish()
        away = 1 + int(self._draw.expovariate(1 / SPREAD_TICKS))
        return self._limit(
            market, account, buy, max(1, market.mid + (-away if buy else away)), lots
        )

    def _cancel(self, market: _Market) -> list[Said]:
        ids, draw = market.ids, self._draw
        while True:
            at = draw.randrange(len(ids))
            ids[at], ids[-1] = ids[-1], ids[at]
            order_id = ids.pop()
            if order_id in market.resting:
                return self._leave(market, order_id, by_wish=True)

    def _leave(self, market: _Market, order_id: int, *, by_wish: bool) -> list[Said]:
        """Cancelled by its owner, or because the owner's own order met it."""
        order = market.resting.pop(order_id)
        if by_wish:
            market.book.cancel(str(order_id))
        left = order.quantity - order.filled
        account, token = order.account, QUOTE if order.buy else market.base
        amount = left * order.ticks * UNIT if order.buy else left * LOT
        return [
            (market.address, "OrderCancelled", (order_id, account), (self.now, 3)),
            (MANAGER, "Unlock", (account, token), (amount,)),
        ]

    def _limit(
        self, market: _Market, account: Address, buy: bool, ticks: int, lots: int
    ) -> list[Said]:
        order_id = market.next_id
        market.next_id += 1
        token = QUOTE if buy else market.base
        amount = lots * ticks * UNIT if buy else lots * LOT
        placed = (ticks * TICK, lots * LOT, EXPIRY, 0, 0, 0, 0, 0)
        said: list[Said] = [
            (MANAGER, "Lock", (account, token), (amount,)),
            (market.address, "OrderPlaced", (order_id, account, 0 if buy else 1), placed),
        ]
        met, left = market.book.place(str(order_id), account, buy, ticks, lots)
        said += self._fills(market, account, buy, order_id, ticks, met)
        if left:
            market.resting[order_id] = _Resting(account, buy, ticks, lots, lots - left)
            market.ids.append(order_id)
        else:
            said.append((market.address, "UpdateOrder", (order_id,), (self.now, lots * LOT, 2)))
        return said

    def _market_order(self, market: _Market, account: Address, buy: bool, lots: int) -> list[Said]:
        order_id = market.next_id
        market.next_id += 1
        placed = (0, lots * LOT, self.now, 1, 0, 0, 0, 1)
        said: list[Said] = [
            (market.address, "OrderPlaced", (order_id, account, 0 if buy else 1), placed)
        ]
        met, left = market.book.take(account, buy, None, lots)
        said += self._fills(market, account, buy, order_id, None, met)
        status = 2 if not left else 1 if left < lots else 5
        end = (self.now, (lots - left) * LOT, status)
        return [*said, (market.address, "UpdateOrder", (order_id,), end)]

    def _fills(
        self,
        market: _Market,
        taker: Address,
        buy: bool,
        order_id: int,
        limit: int | None,
        met: Any,
    ) -> Iterator[Said]:
        book, now = market.address, self.now
        spent, received = (QUOTE, market.base) if buy else (market.base, QUOTE)
        for maker, ticks, lots in met:
            maker_id = int(maker)
            if not lots:
                yield from self._leave(market, maker_id, by_wish=False)
                continue
            order = market.resting[maker_id]
            order.filled += lots
            base, quote = lots * LOT, lots * ticks * UNIT
            paid, got = (quote, base) if buy else (base, quote)
            if limit is not None:
                unlocked = lots * limit * UNIT if buy else base
                yield MANAGER, "Unlock", (taker, spent), (unlocked,)
            fee = paid * MAKER_FEE // 1_000
            yield MANAGER, "TransferFrom", (book, taker, order.account), (spent, paid, fee)
            fee = got * TAKER_FEE // 1_000
            parties = (book, order.account, taker)
            yield MANAGER, "TransferLockedFrom", parties, (received, got, fee)
            full = order.filled == order.quantity
            yield book, "UpdateOrder", (maker_id,), (now, order.filled * LOT, 2 if full else 1)
            ids = (order_id, maker_id) if buy else (maker_id, order_id)
            words = (0 if buy else 1, now, ticks * TICK, base)
            yield book, "OrderMatched", (taker, *ids), words
            if full:
                del market.resting[maker_id]


def blocks(
    events: int, seed: int = SEED, per_block: int = EVENTS_A_BLOCK
) -> Iterator[RecordedBlock]:
    """The chain's blocks: the first is empty, the last ends with the tx that makes it enough."""
    traders = Traders(seed)
    parent, number, told, nonce = "0x" + "00" * 32, 0, 0, 0
    coming = traders.begin()
    while True:
        name = "0x" + sha256(f"{seed} block {number}".encode()).hexdigest()
        logs: list[Log] = []
        first = nonce + 1
        while number and len(logs) < per_block and told < events:
            tx = next(coming, None)
            nonce += 1
            hash_ = Hash("0x" + sha256(f"{seed} tx {nonce}".encode()).hexdigest())
            for said in tx if tx is not None else traders.act():
                logs.append(_log(said, Hash(name), number, hash_, len(logs), nonce - first))
                told += 1
        promised = f"0x{bloom.of(logs):0512x}"
        yield RecordedBlock(number, Hash(name), Hash(parent), traders.now, promised, logs)
        if told >= events:
            return
        parent, number = name, number + 1
        traders.now += BLOCK_S


def _word(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    return value[2:].rjust(64, "0") if isinstance(value, str) else f"{value:064x}"


def _log(said: Said, block: Hash, number: int, tx: Hash, index: int, tx_index: int) -> Log:
    contract, name, indexed, words = said
    return Log(
        contract,
        [_TOPICS[name], *("0x" + _word(word) for word in indexed)],
        "0x" + "".join(map(_word, words)),
        block,
        hex(number),
        tx,
        hex(index),
        hex(tx_index),
    )


def folder() -> Path:
    """Where what benchmarks have made or fetched waits for the next of them."""
    path = Path(os.environ.get("TIDEBOOK_BENCH_CACHE", "/tmp/tidebook-bench"))
    path.mkdir(parents=True, exist_ok=True)
    return path


def chain(events: int, seed: int = SEED, per_block: int = EVENTS_A_BLOCK) -> Path:
    """The recording of a chain, made if it is not in the cache yet."""
    path = folder() / f"chain-{FORMAT}-{seed}-{events}-{per_block}.jsonl.gz"
    if not path.exists():
        with NewRecording(path) as recording:
            part: list[RecordedBlock] = []
            for block in blocks(events, seed, per_block):
                part.append(block)
                if len(part) == BLOCKS_A_PART:
                    recording.add(part)
                    part = []
            recording.add(part)
            recording.finish(DEPLOYMENT)
    return path


if __name__ == "__main__":
    for events in map(int, sys.argv[1:]):
        sys.stdout.write(f"{chain(events)}\n")
