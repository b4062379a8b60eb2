"""Market answers: what was traded, at what price, and what the book offered meanwhile.

Means of the book are weighted by time, block to block, over the period asked for.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

from analytics import arguments as a
from analytics import micro, reads, text
from analytics.books import TopRow
from analytics.endpoint import Answer, Ask, Endpoint
from analytics.reads import Listing
from analytics.returns import DAY_S
from indexer.domain.order import Trade

Samples = list[tuple[int, Fraction | None]]


async def overview(ask: Ask) -> Answer:
    rows = []
    for one in ask.listings:
        trades = await _trades(ask, one)
        book = await reads.levels_at(ask.snapshot, one.market.address, ask.at.number)
        rows.append(
            {"symbol": one.market.symbol, **_traded(one, trades), **_top(one, top_of(book))}
        )
    return {"period": ask["period"], "markets": rows}


async def symbol(ask: Ask) -> Answer:
    one = _listing(ask)
    trades = await _trades(ask, one)
    rows = window(await reads.tops(ask.snapshot, one, ask.at.number), ask.since)
    book = await reads.levels_at(ask.snapshot, one.market.address, ask.at.number)
    mids = samples(rows, lambda row: row.top.mid, ask.since)
    market = one.market
    return {
        "symbol": market.symbol,
        "address": market.address,
        "base": {"symbol": one.base.symbol, "address": one.base.address},
        "quote": {"symbol": one.quote.symbol, "address": one.quote.address},
        "tick_size": text.amount(market.tick_size, one.quote.decimals),
        "lot_size": text.amount(market.lot_size, one.base.decimals),
        "period": ask["period"],
        **_traded(one, trades),
        "twap": text.price(micro.time_mean(mids, ask.at.timestamp), one.quote.decimals),
        "order_flow_imbalance": text.amount(
            sum(row.order_flow for row in rows[1:]), one.base.decimals
        ),
        **_top(one, top_of(book)),
        "reason": None if rows else "the book has never held anything",
    }


async def volume(ask: Ask) -> Answer:
    """By hour of the period, each market by itself: volumes of different tokens have no sum."""
    rows = []
    for one in _some(ask):
        hours: dict[int, list[Trade]] = {}
        for trade in await _trades(ask, one):
            hours.setdefault(trade.timestamp // 3600 * 3600, []).append(trade)
        rows += [
            {"symbol": one.market.symbol, "hour": hour, **_traded(one, trades)}
            for hour, trades in hours.items()
        ]
    return {"period": ask["period"], "volume": rows}


async def spread(ask: Ask) -> Answer:
    one = _listing(ask)
    every = await reads.tops(ask.snapshot, one, ask.at.number)
    rows = window(every, ask.since)
    spreads = samples(rows, lambda row: micro.spread_bps(row.top), ask.since)
    effective: list[Fraction] = []
    marks: dict[int, list[Fraction]] = {1: [], 10: [], 100: []}
    mids = [(row.block_number, mid) for row in every if (mid := row.top.mid) is not None]
    for trade in await _trades(ask, one):
        before = _mid_at(mids, trade.block_number - 1)
        if before is None:
            continue
        effective.append(micro.effective_spread_bps(trade.price, before))
        for blocks, found in marks.items():
            after = _mid_at(mids, trade.block_number + blocks)
            if after is not None and trade.block_number + blocks <= ask.at.number:
                gain = micro.markout(trade.price, after, trade.taker_side)
                found.append(gain * micro.BPS / trade.price)
    return {
        "symbol": one.market.symbol,
        "period": ask["period"],
        "quoted_bps": text.ratio(spreads[-1][1]) if spreads else None,
        "mean_quoted_bps": text.ratio(micro.time_mean(spreads, ask.at.timestamp)),
        "mean_effective_bps": text.ratio(_mean(effective)),
        "taker_markout_bps": {
            f"{blocks}_blocks": text.ratio(_mean(found)) for blocks, found in marks.items()
        },
        "trades": len(effective),
        "reason": None if effective else "no trade in the period with a mid in the block before",
    }


async def liquidity(ask: Ask) -> Answer:
    rows = []
    for one in _some(ask):
        book = await reads.levels_at(ask.snapshot, one.market.address, ask.at.number)
        tops = window(await reads.tops(ask.snapshot, one, ask.at.number), ask.since)
        mid = top_of(book).mid
        for at, bps in enumerate(micro.BANDS_BPS):
            row: dict[str, Any] = {"symbol": one.market.symbol, "bps": bps}
            for name, side in (("bid", book["buy"]), ("ask", book["sell"])):
                now = None if mid is None else micro.depth(side, mid, bps, one.base.unit)
                over = samples(tops, lambda t, n=name, i=at: _band(t, n, i), ask.since)
                mean = micro.time_mean(over, ask.at.timestamp)
                row[f"{name}_depth"] = text.amount(now, one.quote.decimals)
                row[f"mean_{name}_depth"] = text.price(mean, one.quote.decimals)
            row["reason"] = "one side of the book is empty" if mid is None else None
            rows.append(row)
    return {"period": ask["period"], "liquidity": rows}


async def depth_history(ask: Ask) -> Answer:
    one = _listing(ask)
    rows = await reads.tops(ask.snapshot, one, ask.at.number)
    if ask["after"] is not None:
        rows = [row for row in rows if row.block_number < ask["after"][0]]
    page = rows[::-1][: ask["limit"]]
    more = len(rows) > len(page)
    told = []
    for row in page:
        depths: dict[str, Any] = {}
        for at, bps in enumerate(micro.BANDS_BPS):
            for name in ("bid", "ask"):
                band = _band(row, name, at)
                units = None if band is None else int(band)
                depths[f"{name}_{bps}_bps"] = text.amount(units, one.quote.decimals)
        where = {"block": row.block_number, "timestamp": row.timestamp}
        told.append({**where, **_top(one, row.top), **depths})
    return {
        "symbol": one.market.symbol,
        "depth": told,
        "next": f"{page[-1].block_number}-0" if more else None,
    }


async def imbalance(ask: Ask) -> Answer:
    one = _listing(ask)
    book = await reads.levels_at(ask.snapshot, one.market.address, ask.at.number)
    tops = window(await reads.tops(ask.snapshot, one, ask.at.number), ask.since)
    return {
        "symbol": one.market.symbol,
        "period": ask["period"],
        "levels": {
            str(count): text.ratio(
                micro.imbalance(
                    sum(q for _, q in book["buy"][:count]), sum(q for _, q in book["sell"][:count])
                )
            )
            for count in (1, 5, 10)
        },
        "microprice": text.price(micro.microprice(top_of(book)), one.quote.decimals),
        "order_flow_imbalance": text.amount(
            sum(row.order_flow for row in tops[1:]), one.base.decimals
        ),
        "reason": None if book["buy"] and book["sell"] else "one side of the book is empty",
    }


async def slippage(ask: Ask) -> Answer:
    """What a taker's quantity would meet in the resting book, fees aside."""
    one = _listing(ask)
    quantity = a.to_units("quantity", ask["quantity"], one.base.decimals)
    book = await reads.levels_at(ask.snapshot, one.market.address, ask.at.number)
    met = micro.walk(book["sell" if ask["side"] == "buy" else "buy"], quantity, one.base.unit)
    mid = top_of(book).mid
    mean = Fraction(met.quote_amount * one.base.unit, met.filled) if met.filled else None
    cost = None
    if mean is not None and mid is not None:
        cost = (mean - mid if ask["side"] == "buy" else mid - mean) * micro.BPS / mid
    short = quantity - met.filled
    return {
        "symbol": one.market.symbol,
        "side": ask["side"],
        "quantity": text.amount(quantity, one.base.decimals),
        "filled": text.amount(met.filled, one.base.decimals),
        "quote_amount": text.amount(met.quote_amount, one.quote.decimals),
        "mean_price": text.price(mean, one.quote.decimals),
        "worst_price": text.amount(met.worst, one.quote.decimals),
        "levels": met.levels,
        "mid": text.price(mid, one.quote.decimals),
        "slippage_bps": text.ratio(cost),
        "reason": (
            f"the book is {text.amount(short, one.base.decimals)} short of the quantity"
            if short
            else None
            if mid is not None
            else "one side of the book is empty"
        ),
    }


async def illiquidity(ask: Ask) -> Answer:
    """Amihud over days, or over hours where `interval` says so, and Roll's spread."""
    one = _listing(ask)
    seconds = DAY_S if ask["interval"] == "day" else 3600
    trades = await _trades(ask, one)
    buckets: dict[int, list[Trade]] = {}
    for trade in trades:
        buckets.setdefault(trade.timestamp // seconds, []).append(trade)
    days: list[tuple[float, int]] = []
    last: int | None = None
    for found in buckets.values():
        traded = sum(trade.quote_amount for trade in found) // one.quote.unit
        if last is not None:
            days.append((found[-1].price / last - 1, traded))
        last = found[-1].price
    rolled = micro.roll([trade.price for trade in trades])
    measured = micro.amihud(days)
    return {
        "symbol": one.market.symbol,
        "period": ask["period"],
        "interval": ask["interval"],
        "observations": len(days),
        "amihud_per_million": None if measured is None else measured * 10**6,
        "roll_spread": None if rolled is None else rolled / one.quote.unit,
        "reason": None if measured is not None else f"{len(days)} returns with volume",
    }


# -- parts -----------------------------------------------------------------------------------------


def _listing(ask: Ask) -> Listing:
    return reads.find_symbol(ask.listings, "symbol", ask["symbol"])


def _some(ask: Ask) -> Sequence[Listing]:
    return ask.listings if ask["symbol"] is None else [_listing(ask)]


async def _trades(ask: Ask, one: Listing) -> list[Trade]:
    return await reads.market_trades(ask.snapshot, one.market.address, ask.since, ask.at.number)


def _traded(one: Listing, trades: Sequence[Trade]) -> dict[str, Any]:
    """What a market's trades amount to."""
    base, quote = one.base.decimals, one.quote.decimals
    bought = sum(trade.quantity for trade in trades if trade.taker_side == "buy")
    mean = micro.vwap((trade.price, trade.quantity) for trade in trades)
    return {
        "trades": len(trades),
        "volume": text.amount(sum(trade.quantity for trade in trades), base),
        "quote_volume": text.amount(sum(trade.quote_amount for trade in trades), quote),
        "taker_buy_volume": text.amount(bought, base),
        "accounts": len({who for trade in trades for who in (trade.maker, trade.taker)}),
        "last": text.amount(trades[-1].price if trades else None, quote),
        "high": text.amount(max((trade.price for trade in trades), default=None), quote),
        "low": text.amount(min((trade.price for trade in trades), default=None), quote),
        "vwap": text.price(mean, quote),
    }


def top_of(book: dict[Any, list[tuple[int, int]]]) -> micro.Top:
    bid, bid_quantity = book["buy"][0] if book["buy"] else (None, 0)
    ask, ask_quantity = book["sell"][0] if book["sell"] else (None, 0)
    return micro.Top(bid, bid_quantity, ask, ask_quantity)


def _top(one: Listing, top: micro.Top) -> dict[str, Any]:
    return {
        "bid": text.amount(top.bid, one.quote.decimals),
        "bid_quantity": text.amount(top.bid_quantity, one.base.decimals),
        "ask": text.amount(top.ask, one.quote.decimals),
        "ask_quantity": text.amount(top.ask_quantity, one.base.decimals),
        "mid": text.price(top.mid, one.quote.decimals),
        "spread_bps": text.ratio(micro.spread_bps(top)),
    }


def window(rows: Sequence[TopRow], since: int) -> list[TopRow]:
    """Rows of a period, and the one before it, which holds at its start."""
    first = next((at for at, row in enumerate(rows) if row.timestamp > since), len(rows))
    return list(rows[max(first - 1, 0) :])


def samples(rows: Iterable[TopRow], read: Any, since: int) -> Samples:
    """One value of each row from when it held, not before the period began."""
    return [(max(row.timestamp, since), read(row)) for row in rows]


def _band(row: TopRow, side: str, at: int) -> Fraction | None:
    depths = row.bid_depth if side == "bid" else row.ask_depth
    return Fraction(depths[at]) if depths else None


def _mean(values: Sequence[Fraction]) -> Fraction | None:
    return sum(values, Fraction(0)) / len(values) if values else None


def _mid_at(mids: Sequence[tuple[int, Fraction]], block_number: int) -> Fraction | None:
    """The newest mid up to a block."""
    low, high = 0, len(mids)
    while low < high:
        middle = (low + high) // 2
        if mids[middle][0] <= block_number:
            low = middle + 1
        else:
            high = middle
    return mids[low - 1][1] if low else None


_OF_ONE = (a.SYMBOL, a.PERIOD)
_OF_ANY = (a.ANY_SYMBOL, a.PERIOD)
_SIDE = a.one_of("side", "Of the taker.", None, "buy", "sell")
_BUCKET = a.one_of("interval", "Between two returns.", "day", "hour", "day")
ENDPOINTS = (
    Endpoint(
        "/api/market/overview",
        "Every market: what was traded, and its top",
        (a.PERIOD,),
        overview,
        "markets",
    ),
    Endpoint(
        "/api/market/symbol/{symbol}",
        "One market: prices, volumes, VWAP, TWAP, order-flow imbalance",
        (a.SYMBOL_PATH, a.PERIOD),
        symbol,
    ),
    Endpoint("/api/market/volume", "Volumes by hour", _OF_ANY, volume, "volume"),
    Endpoint(
        "/api/market/liquidity",
        "Depth within 5 to 200 bps of mid, now and time-weighted",
        _OF_ANY,
        liquidity,
        "liquidity",
    ),
    Endpoint(
        "/api/market/spread",
        "Quoted and effective spread, and takers' markouts after 1, 10 and 100 blocks",
        _OF_ONE,
        spread,
    ),
    Endpoint(
        "/api/market/depth-history",
        "The book's top and depth, block by block, newest first",
        (a.SYMBOL, a.LIMIT, a.AFTER),
        depth_history,
        "depth",
    ),
    Endpoint(
        "/api/market/imbalance",
        "Book imbalance, microprice and order-flow imbalance",
        _OF_ONE,
        imbalance,
    ),
    Endpoint(
        "/api/market/slippage",
        "What a quantity would meet in the book",
        (a.SYMBOL, _SIDE, a.QUANTITY),
        slippage,
    ),
    Endpoint(
        "/api/market/illiquidity",
        "Amihud's measure and Roll's spread",
        (*_OF_ONE, _BUCKET),
        illiquidity,
    ),
)
