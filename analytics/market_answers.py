"""Market answers: what was traded, at what price, and what trading costs."""

from fractions import Fraction

from analytics import arguments as a
from analytics import micro, text
from analytics.endpoint import Answer, Ask, Endpoint
from analytics.market_figures import (
    NO_TOP,
    around,
    deals,
    levels,
    listing,
    listings,
    mid_at,
    mids,
    samples,
    tell_top,
    tell_traded,
    top_of,
    tops,
)
from analytics.marks import Series
from analytics.reads import Listing
from analytics.returns import DAY_S
from analytics.tape import Deal


async def overview(ask: Ask) -> Answer:
    markets = [one.market.address for one in ask.listings]
    sums = await ask.memory.traded(ask.view, markets, ask.since)
    prices = await ask.memory.prices(ask.view, dict.fromkeys(markets, ()), "mid")
    rows = []
    for one in ask.listings:
        newest = prices[one.market.address].newest
        top = newest.top if newest is not None and newest.top is not None else NO_TOP
        told = {**tell_traded(one, sums[one.market.address]), **tell_top(one, top)}
        rows.append({"symbol": one.market.symbol, **told})
    return {"period": ask["period"], "markets": rows}


async def symbol(ask: Ask) -> Answer:
    one = listing(ask)
    address = one.market.address
    sums = (await ask.memory.traded(ask.view, [address], ask.since))[address]
    rows = await tops(ask, one, ask.since)
    book = await levels(ask, one)
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
        **tell_traded(one, sums),
        "twap": text.price(micro.time_mean(mids, ask.at.timestamp), one.quote.decimals),
        "order_flow_imbalance": text.amount(
            sum(row.order_flow for row in rows[1:]), one.base.decimals
        ),
        **tell_top(one, top_of(book)),
        "reason": None if rows else "the book has never held anything",
    }


async def volume(ask: Ask) -> Answer:
    """By hour of the period, each market by itself: volumes of different tokens have no sum."""
    rows = []
    for one in listings(ask):
        hours = await ask.memory.hourly(ask.view, one.market.address, ask.since)
        rows += [
            {"symbol": one.market.symbol, "hour": hour, **tell_traded(one, sums)}
            for hour, sums in hours.items()
        ]
    return {"period": ask["period"], "volume": rows}


async def slippage(ask: Ask) -> Answer:
    """What a taker's quantity would meet in the resting book, fees aside."""
    one = listing(ask)
    quantity = a.to_units("quantity", ask["quantity"], one.base.decimals)
    book = await levels(ask, one)
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
    """Amihud over days or hours; Roll, Kyle and VPIN over the period's trades."""
    one = listing(ask)
    seconds = DAY_S if ask["interval"] == "day" else 3600
    trades = await deals(ask, one)
    buckets: dict[int, list[Deal]] = {}
    for trade in trades:
        buckets.setdefault(trade.timestamp // seconds, []).append(trade)
    days: list[tuple[float, int]] = []
    last: int | None = None
    for found in buckets.values():
        traded = sum(trade.quote_amount for trade in found) // one.quote.unit
        if last is not None:
            days.append((found[-1].price / last - 1, traded))
        last = found[-1].price
    moves = _moves(one, trades, await mids(ask, one, around(trades)))
    slope = micro.kyle(moves)
    signed = [t.quantity if t.taker_side == "buy" else -t.quantity for t in trades]
    toxicity = micro.vpin(signed)
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
        "kyle_lambda": slope,
        "kyle_reason": None if slope is not None else f"{len(moves)} blocks that moved a mid",
        "vpin": text.ratio(toxicity),
        "vpin_buckets": micro.VPIN_BUCKETS,
        "vpin_reason": None if toxicity is not None else f"{len(trades)} trades are too few",
    }


def _moves(one: Listing, trades: list[Deal], known: Series) -> list[tuple[float, float]]:
    """By block that traded: taker buys less sells, and what it did to the mid, in whole tokens."""
    signed: dict[int, int] = {}
    for deal in trades:
        volume = deal.quantity if deal.taker_side == "buy" else -deal.quantity
        signed[deal.block_number] = signed.get(deal.block_number, 0) + volume
    moves = []
    for number, volume in signed.items():
        before, after = mid_at(known, number - 1), mid_at(known, number)
        if before is not None and after is not None:
            moves.append((volume / one.base.unit, float(after - before) / one.quote.unit))
    return moves


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
        "/api/market/slippage",
        "What a quantity would meet in the book",
        (a.SYMBOL, _SIDE, a.QUANTITY),
        slippage,
    ),
    Endpoint(
        "/api/market/illiquidity",
        "Amihud's measure, Roll's spread, Kyle's lambda, VPIN",
        (*_OF_ONE, _BUCKET),
        illiquidity,
    ),
)
