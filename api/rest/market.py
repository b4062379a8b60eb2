"""`/api/v3`, public: markets, books, trades and candles in Binance's dialect.

Candles exist only where trades do. Klines alone fill the gaps, as their readers count on rows that
follow each other: an interval without a trade is flat at the close before it, with no volume. None
come before a market's first trade, or after the head block.
"""

from api import market_reads
from api.arguments import Cursor
from api.candles import read_candles
from api.limits import MAX_LEVELS
from api.rest import answers as a
from api.rest import errors
from api.rest import params as p
from api.rest.endpoint import Assets, Call, Endpoint
from indexer.domain.interval import INTERVALS, close_time_ms, next_open, open_time
from indexer.domain.listing import Listing
from indexer.domain.order import Candle, Level
from indexer.domain.order import Trade as DomainTrade
from indexer.domain.trade_ids import AggregateTrade, aggregate, origin_of
from indexer.domain.trade_ids import trade_id as number_of
from indexer.domain.units import Price, to_decimals

MAX_AGGREGATE_READS = 4
"""Statements one page of aggregates may cost; with fewer rows than asked the caller asks on."""


def _levels(levels: list[Level], listing: Listing) -> list[a.PriceLevel]:
    prices = to_decimals([one.price for one in levels], listing.quote.decimals)
    quantities = to_decimals([one.quantity for one in levels], listing.base.decimals)
    return list(zip(prices, quantities, strict=True))


async def depth(call: Call) -> a.Depth:
    """The book at its newest diff: the next one's `U` is exactly `lastUpdateId + 1`."""
    listing = call.listing(call["symbol"])
    bids, asks, link = await market_reads.book(call.snapshot, listing.address, call["limit"])
    return a.Depth(link, _levels(bids, listing), _levels(asks, listing))


def _trade(trade: DomainTrade, listing: Listing) -> a.Trade:
    return a.Trade(
        id=number_of(trade.block_number, trade.log_index),
        price=listing.price(trade.price),
        qty=listing.quantity(trade.quantity),
        quote_qty=listing.quote_amount(trade.quote_amount),
        time=trade.timestamp * 1000,
        is_buyer_maker=trade.taker_side == "sell",
    )


async def trades(call: Call) -> list[a.Trade]:
    listing = call.listing(call["symbol"])
    found = await market_reads.newest_trades(call.snapshot, listing.address, call["limit"])
    return [_trade(one, listing) for one in found]


async def historical_trades(call: Call) -> list[a.Trade]:
    if call["fromId"] is None:
        return await trades(call)
    listing = call.listing(call["symbol"])
    origin = Cursor(*origin_of(call["fromId"]))
    found = await market_reads.trades_from(call.snapshot, listing.address, origin, call["limit"])
    return [_trade(one, listing) for one in found]


async def agg_trades(call: Call) -> list[a.AggTrade]:
    listing, limit = call.listing(call["symbol"]), call["limit"]
    from_id, since, until = call["fromId"], call["startTime"], call["endTime"]
    if from_id is not None and (since is not None or until is not None):
        raise errors.combination("fromId", "startTime or endTime")
    if from_id is None and since is None and until is None:
        found = await market_reads.newest_trades(call.snapshot, listing.address, limit * 2 + 1)
        whole = list(aggregate(found))
        if len(found) > limit * 2:  # the oldest may have begun before what was read
            whole = whole[1:]
        return [_aggregate(one, listing) for one in whole[-limit:]]
    if from_id is None:
        last = call.now if until is None else min(until // 1000, call.now)
        first = await market_reads.trades_between(
            call.snapshot, listing.address, since=_seconds_up(since or 0), until=last, limit=1
        )
        if not first:
            return []
        from_id = number_of(first[0].block_number, 0)
    else:
        last = call.now
    chosen = await _aggregates_from(call, listing, from_id, limit)
    return [_aggregate(one, listing) for one in chosen if one.timestamp <= last]


async def _aggregates_from(
    call: Call, listing: Listing, from_id: int, limit: int
) -> list[AggregateTrade]:
    """The first whole aggregates from a number on; read from its block's beginning."""
    origin = Cursor(origin_of(from_id)[0], 0)
    found: list[DomainTrade] = []
    chosen: list[AggregateTrade] = []
    for _ in range(MAX_AGGREGATE_READS):
        size = limit * 2 + 1
        page = await market_reads.trades_from(call.snapshot, listing.address, origin, size)
        found += page
        chosen = [one for one in aggregate(found) if one.first_id >= from_id]
        if len(page) < size:
            return chosen[:limit]
        if len(chosen) > limit:
            break
        origin = Cursor(page[-1].block_number, page[-1].log_index + 1)
    return chosen[:-1][:limit]


def _aggregate(one: AggregateTrade, listing: Listing) -> a.AggTrade:
    return a.AggTrade(
        a=one.first_id,
        p=listing.price(one.price),
        q=listing.quantity(one.quantity),
        f=one.first_id,
        l=one.last_id,
        T=one.timestamp * 1000,
        m=one.taker_side == "sell",
    )


def _seconds_up(milliseconds: int) -> int:
    return -(-milliseconds // 1000)


async def klines(call: Call) -> list[a.Kline]:
    """Candles without gaps: from `startTime` the first, else the last up to `endTime`."""
    listing, interval, limit = call.listing(call["symbol"]), call["interval"], call["limit"]
    offset_s = call["timeZone"]
    length = INTERVALS[interval]
    until = call.now if call["endTime"] is None else min(call["endTime"] // 1000, call.now)
    if call["startTime"] is None:
        since = open_time(interval, max(until - (limit - 1) * length, 0), offset_s)
    else:
        earliest = min(_seconds_up(call["startTime"]), call.now + 1)
        since = _opens_from(interval, earliest, offset_s)
    begun, close = await market_reads.first_time_and_price_before(
        call.snapshot, listing.address, since
    )
    if begun is None or since > until:
        return []
    since = max(since, open_time(interval, begun, offset_s))
    candles = await read_candles(
        call.snapshot,
        listing.address,
        interval,
        since=since,
        until=until + 1,
        limit=limit * 2,
        offset_s=offset_s,
    )
    rows = _filled(listing, interval, offset_s, candles, since, until, close)
    return rows[:limit] if call["startTime"] is not None else rows[-limit:]


def _opens_from(interval: str, time: int, offset_s: int) -> int:
    """The first opening time that is not before `time`."""
    opened = open_time(interval, time, offset_s)
    return opened if opened == time else next_open(interval, opened, offset_s)


def _filled(
    listing: Listing,
    interval: str,
    offset_s: int,
    candles: list[Candle],
    since: int,
    until: int,
    close: int | None,
) -> list[a.Kline]:
    """One row per interval that opens from `since` to `until`; at most a page more than asked."""
    known = {one.open_time: one for one in candles}
    rows: list[a.Kline] = []
    opened = since
    while opened <= until and len(rows) <= 2 * MAX_KLINES:
        candle = known.get(opened)
        if candle is None and close is not None:
            flat = Price(close)
            candle = Candle(listing.address, opened, flat, flat, flat, flat)
        if candle is not None:
            close = candle.close
            rows.append(_kline(candle, listing, close_time_ms(interval, opened, offset_s)))
        opened = next_open(interval, opened, offset_s)
    return rows


MAX_KLINES = 1000


def _kline(one: Candle, listing: Listing, close_ms: int) -> a.Kline:
    return (
        one.open_time * 1000,
        listing.price(one.open),
        listing.price(one.high),
        listing.price(one.low),
        listing.price(one.close),
        listing.quantity(one.volume),
        close_ms,
        listing.quote_amount(one.quote_volume),
        one.trades,
        listing.quantity(one.taker_buy_volume),
        listing.quote_amount(one.taker_buy_quote_volume),
        "0",
    )


async def exchange_info(call: Call) -> a.ExchangeInfo:
    """Every market, or those named. `serverTime` is the head block's."""
    if call["symbol"] is not None and call["symbols"] is not None:
        raise errors.combination("symbol", "symbols")
    names = call["symbols"] or ([call["symbol"]] if call["symbol"] is not None else None)
    chosen = list(call.directory) if names is None else [call.listing(name) for name in names]
    assets = Assets(call.directory)
    return a.ExchangeInfo(
        timezone="UTC",
        server_time=call.now * 1000,
        rate_limits=[],
        exchange_filters=[],
        symbols=[_symbol_info(call, assets, one) for one in chosen],
    )


def _symbol_info(call: Call, assets: Assets, listing: Listing) -> a.SymbolInfo:
    market = listing.market
    tick, lot = listing.price(market.tick_size or 1), listing.quantity(market.lot_size or 1)
    least = listing.quantity(market.min_quantity or market.lot_size or 1)
    return a.SymbolInfo(
        symbol=call.symbol(listing),
        status="TRADING",
        base_asset=assets.name(listing.base),
        base_asset_precision=listing.base.decimals,
        quote_asset=assets.name(listing.quote),
        quote_precision=listing.quote.decimals,
        quote_asset_precision=listing.quote.decimals,
        base_commission_precision=listing.base.decimals,
        quote_commission_precision=listing.quote.decimals,
        filters=[
            a.PriceFilter("PRICE_FILTER", tick, "0", tick),
            a.LotSize("LOT_SIZE", least, listing.quantity(2**256 - 1), lot),
            a.Notional(
                filter_type="NOTIONAL",
                min_notional=listing.quote_amount(market.min_quote_amount or 0),
                apply_min_to_market=True,
                max_notional=listing.quote_amount(2**256 - 1),
                apply_max_to_market=False,
                avg_price_mins=0,
            ),
        ],
    )


_KLINES = (p.symbol(), p.INTERVAL, p.START_TIME, p.END_TIME, p.TIME_ZONE, p.limit(500, MAX_KLINES))
_TRADES = (p.symbol(), p.limit(500, 1000))

ENDPOINTS = (
    Endpoint(
        "/api/v3/exchangeInfo",
        exchange_info,
        a.ExchangeInfo,
        "Markets and their rules",
        (
            p.symbol(required=False),
            p.SYMBOLS,
            p.ignored("permissions"),
            p.ignored("showPermissionSets"),
            p.ignored("symbolStatus"),
        ),
    ),
    Endpoint(
        "/api/v3/depth",
        depth,
        a.Depth,
        "A market's book; `lastUpdateId` is where the live feed's diffs continue",
        (p.symbol(), p.limit(100, MAX_LEVELS)),
    ),
    Endpoint("/api/v3/trades", trades, list[a.Trade], "The last trades, oldest first", _TRADES),
    Endpoint(
        "/api/v3/historicalTrades",
        historical_trades,
        list[a.Trade],
        "Trades from a number on, or the last",
        (*_TRADES, p.FROM_ID),
    ),
    Endpoint(
        "/api/v3/aggTrades",
        agg_trades,
        list[a.AggTrade],
        "Trades, those of one taker order at one price as one",
        (*_TRADES, p.FROM_ID, p.START_TIME, p.END_TIME),
    ),
    Endpoint("/api/v3/klines", klines, list[a.Kline], "Candles without gaps", _KLINES),
    Endpoint("/api/v3/uiKlines", klines, list[a.Kline], "The same candles", _KLINES),
)
