"""What the contracts would say: transactions in, logs out, on whatever branch they are mined.

The rules are the oracle's (tests/devnet/oracle.py), which is held equal to the contracts. A branch
has a state of its own: the same transactions in another order trade otherwise, and a market or a
token may exist on one branch only, or be another one behind the same address.
"""

import hashlib
import random
from dataclasses import dataclass, field
from functools import cache

import abis
from indexer.domain.deployment import Contracts, Deployment
from indexer.domain.log import Log
from indexer.domain.units import Address, Hash
from tests.devnet.oracle import FOK, POST_ONLY, Oracle, Order, Refused, Said

CHAIN_ID = 31_337
TRADERS = tuple(0xA11CE000 + i for i in range(4))
FEE_RECEIVER = 0xFEE
POOL_MANAGER, BALANCE_MANAGER, STRANGER = 0x9001, 0xBA1A, 0xBAD
RICH, TICK = 4_000, 500_000
MAX_TOKENS, MAX_MARKETS = 6, 4
DECIMALS = (18, 6, 8, 2, 0, 18)


def address(number: int) -> Address:
    return Address(f"0x{number:040x}")


DEPLOYMENT = Deployment(
    "tidebook",
    CHAIN_ID,
    Contracts(address(POOL_MANAGER), address(BALANCE_MANAGER)),
    address(FEE_RECEIVER),
    1,
)
"""It names no token: a node is asked for their words."""


@dataclass(frozen=True, slots=True)
class Tx:
    """What somebody signed. Its outcome depends on the block it gets into."""

    hash: Hash
    kind: str
    who: int
    dice: tuple[int, ...]


def sign(draw: random.Random, kind: str | None = None, who: int | None = None) -> Tx:
    kinds = ("limit", "market", "cancel", "expire", "deposit", "withdraw", "create")
    chosen = kind or draw.choices(kinds, (66, 12, 8, 4, 3, 4, 3))[0]
    dice = tuple(draw.getrandbits(16) for _ in range(6))
    hash_ = Hash(f"0x{draw.getrandbits(256):064x}")
    return Tx(hash_, chosen, who or draw.choice(TRADERS), dice)


Spoken = tuple[int, Said]
"""Who said it, and what."""


@dataclass
class State:
    """The contracts' state behind one block."""

    available: dict[tuple[int, int], int] = field(default_factory=dict)
    locked: dict[tuple[int, int], int] = field(default_factory=dict)
    books: list[Oracle] = field(default_factory=list)
    tokens: dict[Address, tuple[str, int]] = field(default_factory=dict)
    """Symbol and decimals by address."""

    def copy(self) -> "State":
        found = State(dict(self.available), dict(self.locked), [], dict(self.tokens))
        found.books = [found.adopt(book) for book in self.books]
        return found

    def adopt(self, book: Oracle) -> Oracle:
        """A copy of a market that moves this state's funds."""
        orders = {
            o.id: Order(o.id, o.owner, o.side, o.tick, o.lots, o.filled, o.expiry, o.status)
            for o in book.orders.values()
        }
        return Oracle(
            *(book.book, book.base, book.quote, book.lot, book.tick, book.unit, book.min_order),
            *(book.fee_receiver, book.maker_rate, book.taker_rate, self.available, self.locked),
            *(orders, [orders[o.id] for o in book.resting], book.next_id),
        )

    def execute(self, tx: Tx, now: int, branch: int) -> list[Spoken]:
        """What a transaction says; nothing if it reverts. `branch` tells equal blocks apart."""
        try:
            match tx.kind:
                case "deposit":
                    return self._deposit(tx)
                case "withdraw":
                    return self._withdraw(tx)
                case "create":
                    return self._create(tx, branch)
                case _:
                    return self._trade(tx, now)
        except Refused:
            return []

    def _deposit(self, tx: Tx) -> list[Spoken]:
        found: list[Spoken] = []
        for token in self.tokens:
            number, amount = int(token, 16), RICH * 10**12 + tx.dice[0]
            key = (tx.who, number)
            self.available[key] = self.available.get(key, 0) + amount
            found.append((BALANCE_MANAGER, ("Deposit", tx.who, number, amount)))
        return found

    def _withdraw(self, tx: Tx) -> list[Spoken]:
        held = [key for key, amount in self.available.items() if key[0] == tx.who and amount]
        if not held:
            raise Refused
        key = held[tx.dice[0] % len(held)]
        amount = 1 + self.available[key] * tx.dice[1] // (1 << 18)
        if amount > self.available[key]:
            raise Refused
        self.available[key] -= amount
        return [(BALANCE_MANAGER, ("Withdrawal", *key, amount))]

    def _create(self, tx: Tx, branch: int) -> list[Spoken]:
        """A market of the newest tokens; on another branch its address may be another pair's."""
        if len(self.books) == MAX_MARKETS:
            raise Refused
        known = len(self.tokens)
        for nonce in range(known, min(known + 1 + (known == 0), MAX_TOKENS)):
            symbol = f"T{nonce}" if tx.dice[0] % 3 else f"T{nonce}X{branch % 7}"
            decimals = DECIMALS[nonce] + (0 if tx.dice[0] % 3 else branch % 2)
            self.tokens[address(0x70_000 + nonce)] = (symbol, decimals)
        numbers = [int(token, 16) for token in self.tokens]
        base = numbers[tx.dice[1] % len(numbers)]
        quote = numbers[tx.dice[2] % len(numbers)]
        pairs = {(book.base, book.quote) for book in self.books}
        if base == quote or (base, quote) in pairs:
            base, quote = numbers[-1], numbers[-2]
        if (base, quote) in pairs:
            raise Refused
        places = self.tokens[address(base)][1]
        # a lot and a tick whose product is a whole base unit, as createPool asks
        lot = 10 ** max(places - 6, 0)
        tick = 10**places // lot
        book = 0xB00_000 + len(self.books)
        self.books.append(
            Oracle(
                *(book, base, quote, lot, tick, 1, 1_000_000, FEE_RECEIVER, 1, 2),
                *(self.available, self.locked),
            )
        )
        pool = int.from_bytes(hashlib.sha256(f"{base} {quote}".encode()).digest())
        rules: Said = ("TradingRulesUpdated", pool, lot, lot, tick, 1_000_000)
        return [
            (BALANCE_MANAGER, ("OperatorSet", book, 1)),
            (POOL_MANAGER, ("PoolCreated", pool, book, base, quote)),
            (book, rules),
            (POOL_MANAGER, rules),
        ]

    def _trade(self, tx: Tx, now: int) -> list[Spoken]:
        if not self.books:
            raise Refused
        at = tx.dice[0] % len(self.books)
        side, lots = tx.dice[1] % 2, 2 + tx.dice[2] % (12 if tx.kind == "limit" else 60)
        force = (0, 0, 0, 0, 1, 2, 3)[tx.dice[3] % 7]
        if force in (FOK, POST_ONLY):  # these revert when funds have moved already
            before = (dict(self.available), dict(self.locked))
            kept = self.adopt(self.books[at])
            try:
                return self._placed(self.books[at], tx, side, lots, force, now)
            except Refused:
                for funds, were in zip((self.available, self.locked), before, strict=True):
                    funds.clear()
                    funds.update(were)
                self.books[at] = kept
                raise
        return self._placed(self.books[at], tx, side, lots, force, now)

    def _placed(
        self, book: Oracle, tx: Tx, side: int, lots: int, force: int, now: int
    ) -> list[Spoken]:
        mine = [o.id for o in book.resting if o.owner == tx.who or tx.kind == "expire"]
        order_id = mine[tx.dice[4] % len(mine)] if mine else 0
        match tx.kind:
            case "limit":
                tick, life_s = TICK + tx.dice[4] % 9 - 4, (0, 0, 20, 90)[tx.dice[5] % 4]
                expiry = now + life_s if life_s else 0
                said = book.place_limit(tx.who, side, tick, lots, force, expiry, now)
            case "market":
                said = book.place_market(tx.who, side, lots, 2 if force == FOK else 1, now)
            case "cancel":
                said = book.cancel(tx.who, order_id, now)
            case _:
                said = book.expire(order_id, now)
        funds = ("Lock", "Unlock", "TransferFrom", "TransferLockedFrom")
        return [(BALANCE_MANAGER if line[0] in funds else book.book, line) for line in said]


def written(spoken: Spoken, tx: Hash, block: Hash, number: int, index: int) -> Log:
    """A log as a node writes it."""
    who, (name, *values) = spoken
    abi = _shapes()[str(name), len(values)]
    topics, data = [abi.topic0], "0x"
    for value, of in zip(values, abi.fields, strict=True):
        word = f"{int(value):064x}"
        if of.indexed:
            topics.append(f"0x{word}")
        else:
            data += word
    return Log(address(who), topics, data, block, hex(number), tx, hex(index))


@cache
def _shapes() -> dict[tuple[str, int], abis.EventAbi]:
    return {(abi.name, len(abi.fields)): abi for abi in abis.registry().values()}
