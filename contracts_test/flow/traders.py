"""Personalities: each turn of a trader yields the transactions it wants sent.

Nothing here waits, reads a clock or draws from anything but the seed: equal seeds and equal logs
give equal orders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random

from eth_hash.auto import keccak
from eth_keys.datatypes import PrivateKey

from contracts_test.exchange import (
    BUY,
    FOK,
    GTC,
    IOC,
    POST_ONLY,
    SELL,
    Exchange,
    Market,
    Step,
    Token,
    cancellation,
    funding,
    limit_order,
    market_order,
)
from contracts_test.flow.books import Books, Resting, opposite

MAX_QUOTES = 12  # a maker takes its oldest orders back beyond this many
ETHER_PER_TRADER = 50 * 10**18
RUPIAH_PER_DOLLAR = 16_000
DOLLARS = {"WETH": 2_500, "WBTC": 60_000}
START_DOLLARS = 20_000_000  # what each trader is given of each token, roughly in dollars


@dataclass(frozen=True, slots=True)
class Intent:
    """A transaction somebody wants to send."""

    sender: bytes
    step: Step


@dataclass(frozen=True, slots=True)
class Trader:
    """An account with a habit."""

    name: str
    key: bytes
    address: bytes
    act: Callable[[Flow, Trader], Iterator[Step]]
    weight: int


class Flow:
    """All traders of an exchange and the prices in their heads."""

    def __init__(self, exchange: Exchange, seed: int) -> None:
        self.exchange = exchange
        self.seed = seed
        self.random = Random(f"tidebook order flow {seed}")
        self.books = Books()
        # Cents per whole base token: one walk per asset, so that markets of one asset move together
        self._cents = {symbol: dollars * 100 for symbol, dollars in DOLLARS.items()}
        self._seen_cents: dict[bytes, int] = {}
        self._taken_back: set[tuple[bytes, int]] = set()
        self.traders = list(self._cast(seed))
        self.by_address = {t.address: t for t in self.traders}

    def _cast(self, seed: int) -> Iterator[Trader]:
        def trader(name: str, weight: int, act: Callable[[Flow, Trader], Iterator[Step]]) -> Trader:
            key = keccak(f"tidebook trader {seed} {name}".encode())
            address = PrivateKey(key).public_key.to_canonical_address()
            return Trader(name, key, address, act, weight)

        for market in self.exchange.markets:
            for i in range(2):
                yield trader(f"maker {market.symbol} {i}", 3, market_maker(market))
            yield trader(f"taker {market.symbol}", 5, taker(market))
            yield trader(f"canceller {market.symbol}", 2, canceller(market))
        yield trader("arbitrageur", 2, arbitrageur)
        yield trader("fat fingers", 1, fat_fingers)

    # -------------------------------------------------------------------------------- opening

    def opening(self, nonces: Mapping[bytes, int]) -> list[Intent]:
        """What gives every trader something to trade with; ether has to be there already.

        These are the first things a trader ever sends: its nonce says how much is done already.
        """
        return [
            Intent(trader.address, step)
            for trader in self.traders
            for step in self._fortunes(trader)[nonces[trader.address] :]
        ]

    def _fortunes(self, trader: Trader) -> list[Step]:
        return [
            step
            for token in self.exchange.tokens
            for step in funding(self.exchange, trader.address, token, _fortune(token))
        ]

    def resume(self, height: int) -> None:
        """Goes on in a market that stands: prices from its books, and draws not drawn before."""
        self.random.seed(f"tidebook order flow {self.seed} from {height}")
        for market in self.exchange.markets:
            bid, ask = (self.books.best(market.book, side) for side in (BUY, SELL))
            if market.quote.symbol != "IDRX" and bid is not None and ask is not None:
                mid = (bid.price + ask.price) // 2
                self._cents[market.base.symbol] = mid * 100 // 10**market.quote.decimals

    # ---------------------------------------------------------------------------------- turns

    def turns(self, count: int) -> list[Intent]:
        """About `count` transactions, of traders drawn by weight."""
        intents: list[Intent] = []
        weights = [t.weight for t in self.traders]
        while len(intents) < count:
            (trader,) = self.random.choices(self.traders, weights)
            intents += [Intent(trader.address, step) for step in trader.act(self, trader)]
        return intents[:count]

    def mine(self, market: Market, trader: Trader) -> list[Resting]:
        """A trader's open orders, without those it has asked to be taken back."""
        return [
            order
            for order in self.books.open_orders(market.book, trader.address)
            if (market.book, order.order_id) not in self._taken_back
        ]

    def take_back(self, market: Market, order: Resting) -> Step:
        """A cancellation that is not asked for twice."""
        self._taken_back.add((market.book, order.order_id))
        return Step(market.book, cancellation(order.order_id))

    def forget(self) -> None:
        """A reorg took back what was known; it is learned again from the start."""
        self.books = Books()
        self._taken_back.clear()

    def walk(self, market: Market) -> int:
        """Moves the asset's price a little and returns this market's mid, in ticks."""
        symbol = market.base.symbol
        cents = self._cents[symbol]
        step = max(1, cents // 4_000)
        start = DOLLARS[symbol] * 100
        pull = (start - cents) // 200  # leads back, or an hour's walk would end anywhere
        cents = max(start // 4, cents + pull + self.random.randint(-step, step))
        self._cents[symbol] = cents
        return self.mid(market)

    def mid(self, market: Market) -> int:
        """The price a market's makers believe in, in ticks. Rupiah markets hear news late."""
        cents = self._cents[market.base.symbol]
        if market.quote.symbol == "IDRX":
            if self.random.random() < 0.7:
                cents = self._seen_cents.get(market.book, cents)
            self._seen_cents[market.book] = cents
            cents *= RUPIAH_PER_DOLLAR
        return int(cents * 10**market.quote.decimals // 100 // market.tick_size)


def _fortune(token: Token) -> int:
    whole = {"USDC": START_DOLLARS, "IDRX": START_DOLLARS * RUPIAH_PER_DOLLAR}
    amount = whole.get(token.symbol)
    if amount is None:
        amount = START_DOLLARS // DOLLARS.get(token.symbol, 1)
    return int(amount * 10**token.decimals)


def _lots(flow: Flow, market: Market, dollars: int) -> int:
    """A heavy-tailed quantity in base units: mostly near `dollars`, now and then fifty times it."""
    worth = dollars * min(50.0, flow.random.paretovariate(1.4))
    whole = DOLLARS[market.base.symbol]
    lots = int(worth * 10**market.base.decimals / whole / market.lot_size)
    return int(max(1, lots) * market.lot_size)


def market_maker(market: Market) -> Callable[[Flow, Trader], Iterator[Step]]:
    """Quotes both sides around the mid, post-only, and takes its oldest orders back."""

    def act(flow: Flow, me: Trader) -> Iterator[Step]:
        draw = flow.random
        mid = flow.walk(market)
        mine = flow.mine(market, me)
        for order in mine[: max(0, len(mine) - MAX_QUOTES + 2)][:2]:
            yield flow.take_back(market, order)
        spread = max(1, mid // 5_000)
        away = spread * draw.randint(1, 8) // 2 + 1
        side = draw.choice((BUY, SELL))
        for which in (side, opposite(side)):
            tick = mid - away if which == BUY else mid + away
            size = _lots(flow, market, 800)
            force = POST_ONLY if draw.random() < 0.7 else GTC
            yield Step(market.book, limit_order(which, tick * market.tick_size, size, force))

    return act


def taker(market: Market) -> Callable[[Flow, Trader], Iterator[Step]]:
    """Takes what is there: market orders, IOC, now and then all or nothing."""

    def act(flow: Flow, me: Trader) -> Iterator[Step]:
        draw = flow.random
        side = draw.choice((BUY, SELL))
        size = _lots(flow, market, 500)
        kind = draw.random()
        if flow.books.best(market.book, opposite(side)) is None:
            return
        if kind < 0.6:
            yield Step(market.book, market_order(side, size))
            return
        mid = flow.mid(market)
        reach = max(2, mid // 300)
        price = (mid + reach if side == BUY else mid - reach) * market.tick_size
        force = IOC if kind < 0.85 else FOK if kind < 0.92 else GTC
        yield Step(market.book, limit_order(side, price, size, force))

    return act


def canceller(market: Market) -> Callable[[Flow, Trader], Iterator[Step]]:
    """Shows orders further out and thinks better of it."""

    def act(flow: Flow, me: Trader) -> Iterator[Step]:
        draw = flow.random
        mine = flow.mine(market, me)
        if mine and draw.random() < 0.6:
            yield flow.take_back(market, draw.choice(mine))
            return
        mid = flow.mid(market)
        away = max(3, mid // 1_000) * draw.randint(1, 20)
        side = draw.choice((BUY, SELL))
        tick = mid - away if side == BUY else mid + away
        size = _lots(flow, market, 1_500)
        yield Step(market.book, limit_order(side, tick * market.tick_size, size))

    return act


def arbitrageur(flow: Flow, me: Trader) -> Iterator[Step]:
    """Buys an asset where it is cheap and sells it where it is dear, at a fixed rupiah rate."""
    by_base: dict[str, list[Market]] = {}
    for market in flow.exchange.markets:
        by_base.setdefault(market.base.symbol, []).append(market)
    for markets in by_base.values():
        for cheap in markets:
            for dear in markets:
                ask = flow.books.best(cheap.book, SELL)
                bid = flow.books.best(dear.book, BUY)
                if cheap is dear or ask is None or bid is None:
                    continue
                # 0.4 % is what two taker fees cost
                if _dollars(dear, bid.price) * 1_000 <= _dollars(cheap, ask.price) * 1_004:
                    continue
                lot = max(cheap.lot_size, dear.lot_size)
                size = min(ask.remaining, bid.remaining) // lot * lot
                if size:
                    yield Step(cheap.book, limit_order(BUY, ask.price, size, IOC))
                    yield Step(dear.book, limit_order(SELL, bid.price, size, IOC))


def _dollars(market: Market, price: int) -> int:
    """A price in millionths of a dollar."""
    rate = RUPIAH_PER_DOLLAR if market.quote.symbol == "IDRX" else 1
    return int(price * 10**6 // 10**market.quote.decimals // rate)


def fat_fingers(flow: Flow, me: Trader) -> Iterator[Step]:
    """Gets it wrong, and the contracts say no."""
    draw = flow.random
    market = draw.choice(flow.exchange.markets)
    price = flow.mid(market) * market.tick_size
    size = 10 * market.lot_size
    yield draw.choice(
        [
            Step(market.book, limit_order(BUY, price + 1, size)),  # between two ticks
            Step(market.book, limit_order(SELL, price, size + 1)),  # between two lots
            Step(market.book, limit_order(BUY, price, market.lot_size * 10**12)),  # not its money
            Step(market.book, limit_order(BUY, market.tick_size, market.lot_size)),  # too small
            Step(market.book, cancellation(2**47)),  # no such order
        ]
    )
