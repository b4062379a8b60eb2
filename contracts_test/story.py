"""Chains built in sentences, for tests.

    chain.run(place("alice", sell=5, at=100), mine(), place("bob", buy=2, at=100), mine())
    chain.run(fork(depth=1, instead=[mine()]))

Numbers are whole tokens (int, str or Decimal), names are people: alice to frank are six of the ten
accounts, and whoever is mentioned has been given a million of everything and deposited it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from contracts_test.abi import encode_call, selector, words
from contracts_test.accounts import KEY_OF
from contracts_test.chain import Chain, HeadChange
from contracts_test.engine import Call, Tx, TxFields
from contracts_test.exchange import (
    Exchange,
    Step,
    Token,
    artifact,
    cancellation,
    funding,
    limit_order,
    market_order,
)
from contracts_test.flow.books import MATCHED, PLACED
from contracts_test.sentences import (
    PEOPLE,
    Cancel,
    Fork,
    Mine,
    Place,
    Sentence,
    StoryError,
    Wait,
    Withdraw,
    address_of,
    cancel,
    fork,
    mine,
    people,
    place,
    units,
    wait,
    withdraw,
)

__all__ = [
    "ChainBuilder",
    "StoryError",
    "Trade",
    "cancel",
    "fork",
    "mine",
    "place",
    "wait",
    "withdraw",
]

FORTUNE = 1_000_000
GAS = 3_000_000
MAX_FEE = 10**12
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Trade:
    """A fill as the chain tells it, in contract units."""

    block_number: int
    market: str
    taker: str
    buy_order: int
    sell_order: int
    taker_side: int
    price: int
    quantity: int


class ChainBuilder:
    """Runs sentences on a chain and answers questions about it.

    `within` runs a function where the chain may be touched: a server's thread, or right here.
    """

    def __init__(
        self,
        chain: Chain,
        exchange: Exchange,
        within: Callable[[Callable[[], Any]], Any] = lambda function: function(),
    ) -> None:
        self.chain = chain
        self.exchange = exchange
        self._within = within
        self._nonces: dict[bytes, int] = {}
        self._named: dict[str, bytes] = {}
        self._funded: set[str] = set()

    # ------------------------------------------------------------------------------ sentences

    def run(self, *sentences: Sentence) -> ChainBuilder:
        """Does what the sentences say, in order."""
        self._do(lambda: self._run(sentences))
        return self

    def _run(self, sentences: Sequence[Sentence]) -> None:
        chain = self.chain
        automine, chain.automine = chain.automine, False
        try:
            self._fund(people(sentences) - self._funded)
            for sentence in sentences:
                self._say(sentence)
        finally:
            chain.automine = automine

    def _say(self, sentence: Sentence) -> None:
        chain = self.chain
        match sentence:
            case Mine(blocks):
                chain.mine(blocks)
                self._nonces.clear()
            case Wait(seconds):
                chain.clock.increase(seconds)
            case Fork(depth, instead):
                self._fork(depth, instead)
            case Place():
                tx_hash = self._send(sentence.who, self._order(sentence))
                if sentence.name is not None:
                    self._named[sentence.name] = tx_hash
            case Cancel(who, name):
                book, order_id = self._find(name)
                self._send(who, Step(book, cancellation(order_id)))
            case Withdraw(who, symbol, amount):
                token = self._token(symbol)
                data = encode_call(
                    "withdraw(address,uint256)", token.address, units(amount, token.decimals)
                )
                self._send(who, Step(self.exchange.balance_manager, data))

    def _fork(self, depth: int, instead: tuple[Sentence, ...] | None) -> HeadChange | None:
        for tx in self.chain.pool.all():
            self.chain.pool.drop(tx.hash)
        self._nonces.clear()
        if instead is None:
            return self.chain.fork(depth)
        self.chain.rollback(depth)
        # Equal sentences must not give the equal block again: that would be no other branch.
        self.chain.branch()
        for sentence in instead:
            self._say(sentence)
        return None

    def _order(self, said: Place) -> Step:
        market = self.exchange.market(said.market)
        quantity = units(said.quantity, market.base.decimals)
        if said.at is None:
            return Step(market.book, market_order(said.side, quantity, said.time_in_force))
        price = units(said.at, market.quote.decimals)
        expiry = 0
        if said.expires_in is not None:
            expiry = self.chain.next_env().timestamp + said.expires_in
        return Step(
            market.book, limit_order(said.side, price, quantity, said.time_in_force, expiry)
        )

    def _send(self, who: str, step: Step) -> bytes:
        sender = address_of(who)
        nonce = self._nonces.get(sender)
        if nonce is None:
            nonce = self.chain.account_nonce(sender)
            nonce = self.chain.pool.next_nonce(sender, nonce)
        self._nonces[sender] = nonce + 1
        fields = TxFields(nonce, step.to, 0, GAS, step.data, None, MAX_FEE, 0)
        tx = self.chain.engine.sign(fields, KEY_OF[sender])
        self.chain.admit(tx)
        return tx.hash

    def _fund(self, names: set[str]) -> None:
        for name in sorted(names):
            for token in self.exchange.tokens:
                amount = FORTUNE * 10**token.decimals
                for step in funding(self.exchange, address_of(name), token, amount):
                    self._send(name, step)
            self._funded.add(name)
        while names and len(self.chain.pool):
            self.chain.mine()

    def _find(self, name: str) -> tuple[bytes, int]:
        tx_hash = self._named.get(name)
        if tx_hash is None:
            raise StoryError(f"nobody placed an order named {name!r}")
        place_ = self.chain.history.find_tx(tx_hash)
        if place_ is None:
            raise StoryError(f"the order {name!r} is in no block (yet, or any more)")
        block, index = place_
        for log in block.receipts[index].logs:
            if "0x" + log.topics[0].hex() == PLACED:
                return log.address, int.from_bytes(log.topics[1], "big")
        raise StoryError(f"the order {name!r} was refused: {self._why(block.txs[index])}")

    # ------------------------------------------------------------------------------ questions

    def trades(self) -> list[Trade]:
        """Every trade on the canonical chain, in order."""
        return self._do(self._trades)

    def _trades(self) -> list[Trade]:
        markets = {m.book: m.symbol for m in self.exchange.markets}
        names = {address: name for name, address in PEOPLE.items()}
        found = []
        for block in self.chain.history.between(0, self.chain.head.number):
            for receipt in block.receipts:
                for log in receipt.logs:
                    if "0x" + log.topics[0].hex() != MATCHED:
                        continue
                    taker = log.topics[1][12:]
                    side, _, price, quantity = words(log.data)
                    found.append(
                        Trade(
                            block.number,
                            markets[log.address],
                            names.get(taker, "0x" + taker.hex()),
                            int.from_bytes(log.topics[2], "big"),
                            int.from_bytes(log.topics[3], "big"),
                            side,
                            price,
                            quantity,
                        )
                    )
        return found

    def levels(self, side: int, market: str = "WETH-USDC") -> list[tuple[int, int, int]]:
        """(price, quantity, count) of a side, best first, from the contract's getter."""
        book = self.exchange.market(market).book
        found = words(self.read(book, encode_call("levels(uint8,uint256)", side, 1_000)))[2:]
        return [(found[i], found[i + 1], found[i + 2]) for i in range(0, len(found), 5)]

    def balance(self, who: str, token: str) -> tuple[int, int]:
        """(available, locked) of a person, in token units."""
        data = encode_call(
            "balanceOf(address,address)", address_of(who), self._token(token).address
        )
        available, locked = words(self.read(self.exchange.balance_manager, data))
        return available, locked

    def order(self, name: str) -> dict[str, int]:
        """A named order as `getOrder` tells it."""
        book, order_id = self._do(lambda: self._find(name))
        keys = ["owner", "side", "status", "price", "quantity", "filled", "expiry", "prev", "next"]
        found = words(self.read(book, encode_call("getOrder(uint48)", order_id)))
        return {"id": order_id, **dict(zip(keys, found, strict=True))}

    def read(self, to: bytes, data: bytes) -> bytes:
        """What a call at the head returns. Raises StoryError if it reverts."""
        return self._do(lambda: self._read(to, data))

    def _read(self, to: bytes, data: bytes) -> bytes:
        head = self.chain.head
        call = Call(bytes(20), to, 0, self.chain.rules.gas_limit, 0, data)
        result = self.chain.engine.call(head.post_root, call, self.chain.env_of(head))
        if not result.succeeded:
            raise StoryError(f"the call was refused: {error_name(result.output) or result.error}")
        return result.output

    def refusals(self) -> list[str]:
        """The custom errors of the head's failed transactions, in order."""
        return self._do(self._refusals)

    def _refusals(self) -> list[str]:
        head = self.chain.head
        pairs = zip(head.txs, head.receipts, strict=True)
        return [self._why(tx) for tx, receipt in pairs if not receipt.succeeded]

    def _why(self, tx: Tx) -> str:
        """Runs a failed transaction again on its block's parent; right for the first in a block."""
        place_ = self.chain.history.find_tx(tx.hash)
        assert place_ is not None, "only mined transactions are asked about"
        block, _ = place_
        parent = self.chain.history.at(block.number - 1)
        assert parent is not None, "genesis has no transactions"
        call = Call(tx.sender, tx.to, tx.value, tx.gas, 0, tx.data)
        result = self.chain.engine.call(parent.post_root, call, self.chain.env_of(block))
        return error_name(result.output) or result.error

    def _token(self, symbol: str) -> Token:
        for token in self.exchange.tokens:
            if token.symbol == symbol:
                return token
        raise StoryError(f"there is no token {symbol}")

    def _do(self, function: Callable[[], T]) -> T:
        result: T = self._within(function)
        return result


def error_name(output: bytes) -> str:
    """The custom error a revert carries, or nothing."""
    return _error_names().get(output[:4], "")


def _error_names() -> dict[bytes, str]:
    found = {}
    for contract in ("Token", "BalanceManager", "PoolManager", "OrderBook"):
        for entry in artifact(contract)["abi"]:
            if entry["type"] == "error":
                types = ",".join(i["type"] for i in entry["inputs"])
                found[selector(f"{entry['name']}({types})")] = str(entry["name"])
    return found
