"""What listing sites poll, in CoinGecko's shape for order books. Amounts are decimal text.

`liquidity_in_usd` is null: nothing on the chain says what a token is worth in dollars.
"""

from typing import Any

import msgspec

from api import market_reads
from api.limits import MAX_LEVELS
from api.rest import answers as a
from api.rest import params as p
from api.rest import tickers
from api.rest.endpoint import Call, Endpoint
from indexer.domain.interval import DAY_S
from indexer.domain.listing import Listing
from indexer.domain.order import Trade
from indexer.domain.trade_ids import trade_id

MAX_TRADES = 1000


class Pair(msgspec.Struct):
    ticker_id: str
    base: str
    target: str
    pool_id: str


class PairTicker(msgspec.Struct):
    ticker_id: str
    base_currency: str
    target_currency: str
    last_price: str
    base_volume: str
    target_volume: str
    bid: str
    ask: str
    high: str
    low: str
    pool_id: str
    liquidity_in_usd: str | None = None


class PairBook(msgspec.Struct):
    ticker_id: str
    timestamp: int
    bids: list[a.PriceLevel]
    asks: list[a.PriceLevel]


class PairTrade(msgspec.Struct):
    trade_id: int
    price: str
    base_volume: str
    target_volume: str
    trade_timestamp: int
    type: str


class PairTrades(msgspec.Struct):
    buy: list[PairTrade]
    sell: list[PairTrade]


def ticker_id(call: Call, listing: Listing) -> str:
    """`WETH_USDC`; a market that this would not find is named by its address."""
    name = listing.symbol.replace("-", "_")
    return name if call.directory.find(name.replace("_", "-")) is listing else listing.address


def _listing(call: Call) -> Listing:
    return call.listing(call["ticker_id"].replace("_", "-"))


async def pairs(call: Call) -> list[Pair]:
    return [
        Pair(ticker_id(call, one), one.base.address, one.quote.address, one.address)
        for one in call.directory
    ]


async def pair_tickers(call: Call) -> list[PairTicker]:
    listings = list(call.directory)
    found = await tickers.read(call, listings, tickers.first_minute(call.now, DAY_S))
    rows = []
    for one in listings:
        ticker = found[one.address]
        last = ticker.last_price or 0
        rows.append(
            PairTicker(
                ticker_id=ticker_id(call, one),
                base_currency=one.base.address,
                target_currency=one.quote.address,
                last_price=one.price(last),
                base_volume=one.quantity(ticker.volume or 0),
                target_volume=one.quote_amount(ticker.quote_volume or 0),
                bid=one.price(ticker.bid or 0),
                ask=one.price(ticker.ask or 0),
                high=one.price(last if ticker.high is None else ticker.high),
                low=one.price(last if ticker.low is None else ticker.low),
                pool_id=one.address,
            )
        )
    return rows


async def order_book(call: Call) -> PairBook:
    """`depth` levels in all, half of them on each side; 0 is as many as we tell."""
    listing = _listing(call)
    depth = call["depth"]
    levels = min(-(-depth // 2) if depth else MAX_LEVELS, MAX_LEVELS)
    bids, asks, _ = await market_reads.book(call.snapshot, listing.address, levels)
    return PairBook(
        ticker_id=ticker_id(call, listing),
        timestamp=call.now * 1000,
        bids=[(listing.price(one.price), listing.quantity(one.quantity)) for one in bids],
        asks=[(listing.price(one.price), listing.quantity(one.quantity)) for one in asks],
    )


async def historical_trades(call: Call) -> PairTrades:
    """The newest trades of a time, newest first; a `buy` took from the asks."""
    listing, kind = _listing(call), call["type"]
    since, until = call["start_time"] or 0, call["end_time"]
    found = await market_reads.trades_between(
        call.snapshot,
        listing.address,
        since=-(-since // 1000),
        until=call.now if until is None else until // 1000,
        limit=min(call["limit"] or MAX_TRADES, MAX_TRADES),
        newest=True,
    )

    def told(side: str) -> list[PairTrade]:
        if kind not in (None, side):
            return []
        return [_trade(one, listing) for one in reversed(found) if one.taker_side == side]

    return PairTrades(told("buy"), told("sell"))


def _trade(one: Trade, listing: Listing) -> PairTrade:
    return PairTrade(
        trade_id=trade_id(one.block_number, one.log_index),
        price=listing.price(one.price),
        base_volume=listing.quantity(one.quantity),
        target_volume=listing.quote_amount(one.quote_amount),
        trade_timestamp=one.timestamp * 1000,
        type=one.taker_side,
    )


def _optional(name: str, text: str, default: int) -> p.Param:
    """A number of rows where 0 means all there are."""
    param = p.integer(name, text)
    return msgspec.structs.replace(param, default=default)


_TICKER: Any = p.symbol(name="ticker_id")

ENDPOINTS = tuple(
    Endpoint(path, answer, returns, summary, params, tag="listing sites")
    for path, answer, returns, summary, params in (
        ("/pairs", pairs, list[Pair], "Markets", ()),
        ("/tickers", pair_tickers, list[PairTicker], "Rolling 24 hours of all markets", ()),
        (
            "/orderbook",
            order_book,
            PairBook,
            "A market's book",
            (_TICKER, _optional("depth", "Levels of both sides together; 0 is all.", 100)),
        ),
        (
            "/historical_trades",
            historical_trades,
            PairTrades,
            "Trades, newest first",
            (
                _TICKER,
                p.choice("type", ("buy", "sell"), "Only what takers bought, or sold."),
                _optional("limit", f"Trades, at most {MAX_TRADES}; 0 is that.", 500),
                p.integer("start_time", "Unix milliseconds, inclusive."),
                p.integer("end_time", "Unix milliseconds, inclusive."),
            ),
        ),
    )
)
