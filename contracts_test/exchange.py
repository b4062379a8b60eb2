"""The exchange on a chain: which contracts it has, how they get there, how they are called."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from eth_hash.auto import keccak

from contracts_test.abi import encode_call, encode_strings_and_words, word

GTC, IOC, FOK, POST_ONLY = range(4)
BUY, SELL = 0, 1
PROTOCOL = "tidebook"
MAX_UINT256 = 2**256 - 1


@dataclass(frozen=True, slots=True)
class TokenSpec:
    """A token to be deployed."""

    symbol: str
    name: str
    decimals: int


@dataclass(frozen=True, slots=True)
class MarketSpec:
    """A market to be created; sizes in base units, quote units per whole base, quote units."""

    base: str
    quote: str
    lot_size: int
    tick_size: int
    min_order: int


TOKENS: tuple[TokenSpec, ...] = (
    TokenSpec("WETH", "Wrapped Ether", 18),
    TokenSpec("WBTC", "Wrapped Bitcoin", 8),
    TokenSpec("USDC", "USD Coin", 6),
    TokenSpec("IDRX", "Rupiah Token", 2),
)
MARKETS: tuple[MarketSpec, ...] = (
    MarketSpec("WETH", "USDC", lot_size=10**14, tick_size=10**4, min_order=10**6),
    MarketSpec("WBTC", "USDC", lot_size=10**3, tick_size=10**5, min_order=10**6),
    MarketSpec("WETH", "IDRX", lot_size=10**14, tick_size=10**5, min_order=10**6),
)
FEE_MAKER_PER_MILLE = 1
FEE_TAKER_PER_MILLE = 2


@dataclass(frozen=True, slots=True)
class Token:
    """A deployed token."""

    address: bytes
    symbol: str
    name: str
    decimals: int


@dataclass(frozen=True, slots=True)
class Market:
    """A deployed market."""

    book: bytes
    base: Token
    quote: Token
    lot_size: int
    tick_size: int
    min_order: int

    @property
    def symbol(self) -> str:
        """Display name."""
        return f"{self.base.symbol}-{self.quote.symbol}"


@dataclass(frozen=True, slots=True)
class Exchange:
    """Everything that is deployed, by address."""

    chain_id: int
    pool_manager: bytes
    balance_manager: bytes
    fee_receiver: bytes
    start_block: int
    tokens: tuple[Token, ...]
    markets: tuple[Market, ...]

    def market(self, symbol: str) -> Market:
        """A market by display name."""
        for market in self.markets:
            if market.symbol == symbol:
                return market
        raise KeyError(f"{symbol} is none of {', '.join(m.symbol for m in self.markets)}")

    def deployment(self) -> dict[str, Any]:
        """The deployment file an indexer follows (design.md, section 6)."""
        return {
            "protocol": PROTOCOL,
            "chain_id": self.chain_id,
            "contracts": {
                "pool_manager": checksum(self.pool_manager),
                "balance_manager": checksum(self.balance_manager),
            },
            "fee_receiver": checksum(self.fee_receiver),
            "fees_per_mille": {"maker": FEE_MAKER_PER_MILLE, "taker": FEE_TAKER_PER_MILLE},
            "start_block": self.start_block,
            "tokens": {
                checksum(t.address): {"symbol": t.symbol, "name": t.name, "decimals": t.decimals}
                for t in self.tokens
            },
            "markets": [
                {
                    "order_book": checksum(m.book),
                    "symbol": m.symbol,
                    "lot_size": m.lot_size,
                    "tick_size": m.tick_size,
                    "min_order": m.min_order,
                }
                for m in self.markets
            ],
        }

    @classmethod
    def from_deployment(cls, value: dict[str, Any]) -> Exchange:
        """The reverse of `deployment`, as a client of a running devnet needs it."""
        tokens = tuple(
            Token(bytes.fromhex(address[2:]), t["symbol"], t["name"], t["decimals"])
            for address, t in value["tokens"].items()
        )
        by_symbol = {t.symbol: t for t in tokens}
        markets = []
        for m in value["markets"]:
            base, quote = (by_symbol[s] for s in m["symbol"].split("-"))
            markets.append(
                Market(
                    bytes.fromhex(m["order_book"][2:]),
                    base,
                    quote,
                    m["lot_size"],
                    m["tick_size"],
                    m["min_order"],
                )
            )
        contracts = value["contracts"]
        return cls(
            chain_id=value["chain_id"],
            pool_manager=bytes.fromhex(contracts["pool_manager"][2:]),
            balance_manager=bytes.fromhex(contracts["balance_manager"][2:]),
            fee_receiver=bytes.fromhex(value["fee_receiver"][2:]),
            start_block=value["start_block"],
            tokens=tokens,
            markets=tuple(markets),
        )


@dataclass(frozen=True, slots=True)
class Step:
    """One transaction of the deployment: a creation when `to` is None."""

    to: bytes | None
    data: bytes


def deployment_steps(
    deployer: bytes, fee_receiver: bytes, chain_id: int, start_block: int, first_nonce: int = 0
) -> tuple[list[Step], Exchange]:
    """The transactions that build the exchange, and what stands afterwards.

    Addresses follow from the deployer and its nonces, so they are known before anything ran.
    """
    nonces = iter(range(first_nonce, first_nonce + 1_000))
    steps: list[Step] = []

    def create(name: str, arguments: bytes) -> bytes:
        steps.append(Step(None, bytecode(name) + arguments))
        return created_address(deployer, next(nonces))

    def call(to: bytes, data: bytes) -> None:
        next(nonces)
        steps.append(Step(to, data))

    tokens = {
        spec.symbol: Token(
            create("Token", encode_strings_and_words(spec.name, spec.symbol, spec.decimals)),
            spec.symbol,
            spec.name,
            spec.decimals,
        )
        for spec in TOKENS
    }
    fees = word(FEE_MAKER_PER_MILLE) + word(FEE_TAKER_PER_MILLE)
    balances = create("BalanceManager", word(fee_receiver) + fees)
    pools = create("PoolManager", word(balances))
    call(balances, encode_call("setPoolManager(address)", pools))
    markets = []
    for nonce, spec in enumerate(MARKETS, start=1):  # a contract's own nonces begin at 1
        base, quote = tokens[spec.base], tokens[spec.quote]
        sizes = (spec.lot_size, spec.tick_size, spec.min_order)
        call(
            pools,
            encode_call(
                "createPool(address,address,uint128,uint128,uint128)",
                base.address,
                quote.address,
                *sizes,
            ),
        )
        markets.append(Market(created_address(pools, nonce), base, quote, *sizes))
    return steps, Exchange(
        chain_id=chain_id,
        pool_manager=pools,
        balance_manager=balances,
        fee_receiver=fee_receiver,
        start_block=start_block,
        tokens=tuple(tokens.values()),
        markets=tuple(markets),
    )


def funding(exchange: Exchange, account: bytes, token: Token, amount: int) -> Iterator[Step]:
    """Faucet, approval and deposit: what gives an account something to trade with."""
    balances = exchange.balance_manager
    yield Step(token.address, encode_call("faucet(address,uint256)", account, amount))
    yield Step(token.address, encode_call("approve(address,uint256)", balances, MAX_UINT256))
    yield Step(balances, encode_call("deposit(address,uint256)", token.address, amount))


def limit_order(
    side: int, price: int, quantity: int, time_in_force: int = GTC, expiry: int = 0
) -> bytes:
    """Calldata of a limit order."""
    return encode_call(
        "placeLimit(uint8,uint128,uint128,uint8,uint48)",
        side,
        price,
        quantity,
        time_in_force,
        expiry,
    )


def market_order(side: int, quantity: int, time_in_force: int = IOC) -> bytes:
    """Calldata of a market order; the quantity is in base units on both sides."""
    return encode_call("placeMarket(uint8,uint128,uint8)", side, quantity, time_in_force)


def cancellation(order_id: int) -> bytes:
    """Calldata of a cancellation."""
    return encode_call("cancel(uint48)", order_id)


@cache
def artifact(name: str) -> dict[str, Any]:
    """A committed artifact: `abi`, `bytecode`, `compiler`, `source_sha256`."""
    text = resources.files("contracts_test").joinpath(f"artifacts/{name}.json").read_text()
    found: dict[str, Any] = json.loads(text)
    return found


@cache
def bytecode(name: str) -> bytes:
    """Creation code of a contract."""
    return bytes.fromhex(artifact(name)["bytecode"][2:])


def created_address(creator: bytes, nonce: int) -> bytes:
    """Where a contract created with this nonce lives."""
    digits = nonce.to_bytes((nonce.bit_length() + 7) // 8, "big")
    # RLP of [creator, nonce]: one byte below 0x80 is itself, anything else has a length before it
    item = digits if 0 < nonce < 0x80 else bytes([0x80 + len(digits)]) + digits
    body = b"\x94" + creator + item
    return keccak(bytes([0xC0 + len(body)]) + body)[12:]


def checksum(address: bytes) -> str:
    """EIP-55 spelling."""
    plain = address.hex()
    digest = keccak(plain.encode()).hex()
    return "0x" + "".join(c.upper() if d >= "8" else c for c, d in zip(plain, digest, strict=False))
