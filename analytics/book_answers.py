"""Book answers: spread, depth and imbalance, now and over a period."""

from fractions import Fraction
from typing import Any

from analytics import arguments as a
from analytics import market_reads, micro, text
from analytics.endpoint import Answer, Ask, Endpoint
from analytics.market_figures import (
    HORIZONS,
    around,
    band,
    deals,
    levels,
    listing,
    listings,
    mean,
    mid_at,
    mids,
    samples,
    tell_top,
    top_of,
    tops,
)


async def spread(ask: Ask) -> Answer:
    one = listing(ask)
    rows, trades = await tops(ask, one, ask.since), await deals(ask, one)
    known = await mids(ask, one, around(trades))
    spreads = samples(rows, lambda row: micro.spread_bps(row.top), ask.since)
    effective: list[Fraction] = []
    marks, realised, impact = ({n: list[Fraction]() for n in HORIZONS} for _ in range(3))
    for trade in trades:
        before = mid_at(known, trade.block_number - 1)
        if before is None:
            continue
        effective.append(micro.effective_spread_bps(trade.price, before))
        for blocks, found in marks.items():
            after = mid_at(known, trade.block_number + blocks)
            if after is not None and trade.block_number + blocks <= ask.at.number:
                gain = micro.markout(trade.price, after, trade.taker_side)
                found.append(gain * micro.BPS / trade.price)
                kept = micro.realised_spread_bps(trade.price, before, after, trade.taker_side)
                realised[blocks].append(kept)
                impact[blocks].append(effective[-1] - kept)
    return {
        "symbol": one.market.symbol,
        "period": ask["period"],
        "quoted_bps": text.ratio(spreads[-1][1]) if spreads else None,
        "mean_quoted_bps": text.ratio(micro.time_mean(spreads, ask.at.timestamp)),
        "mean_effective_bps": text.ratio(mean(effective)),
        "mean_realised_bps": _by_horizon(realised),
        "mean_price_impact_bps": _by_horizon(impact),
        "taker_markout_bps": _by_horizon(marks),
        "trades": len(effective),
        "reason": None if effective else "no trade in the period with a mid in the block before",
    }


def _by_horizon(found: dict[int, list[Fraction]]) -> dict[str, str | None]:
    return {f"{blocks}_blocks": text.ratio(mean(values)) for blocks, values in found.items()}


async def liquidity(ask: Ask) -> Answer:
    rows = []
    for one in listings(ask):
        book = await levels(ask, one)
        history = await tops(ask, one, ask.since)
        mid = top_of(book).mid
        for at, bps in enumerate(micro.BANDS_BPS):
            row: dict[str, Any] = {"symbol": one.market.symbol, "bps": bps}
            for name, side in (("bid", book["buy"]), ("ask", book["sell"])):
                now = None if mid is None else micro.depth(side, mid, bps, one.base.unit)
                over = samples(history, lambda t, n=name, i=at: band(t, n, i), ask.since)
                mean = micro.time_mean(over, ask.at.timestamp)
                row[f"{name}_depth"] = text.amount(now, one.quote.decimals)
                row[f"mean_{name}_depth"] = text.price(mean, one.quote.decimals)
            row["reason"] = "one side of the book is empty" if mid is None else None
            rows.append(row)
    return {"period": ask["period"], "liquidity": rows}


async def depth_history(ask: Ask) -> Answer:
    one = listing(ask)
    before = ask.at.number + 1 if ask["after"] is None else min(ask["after"][0], ask.at.number + 1)
    start = await market_reads.page_start(ask.snapshot, one.market.address, before, ask["limit"])
    rows = await market_reads.tops(ask.snapshot, one, start, before - 1)
    page = [row for row in reversed(rows) if row.block_number > start]
    told = []
    for row in page:
        depths: dict[str, Any] = {}
        for at, bps in enumerate(micro.BANDS_BPS):
            for name in ("bid", "ask"):
                offered = band(row, name, at)
                depths[f"{name}_{bps}_bps"] = text.amount(offered, one.quote.decimals)
        where = {"block": row.block_number, "timestamp": row.timestamp}
        told.append({**where, **tell_top(one, row.top), **depths})
    return {
        "symbol": one.market.symbol,
        "depth": told,
        "next": f"{start + 1}-0" if len(rows) > len(page) else None,
    }


async def imbalance(ask: Ask) -> Answer:
    one = listing(ask)
    book = await levels(ask, one)
    rows = await tops(ask, one, ask.since)
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
            sum(row.order_flow for row in rows[1:]), one.base.decimals
        ),
        "reason": None if book["buy"] and book["sell"] else "one side of the book is empty",
    }


_OF_ONE = (a.SYMBOL, a.PERIOD)
_OF_ANY = (a.ANY_SYMBOL, a.PERIOD)
ENDPOINTS = (
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
)
