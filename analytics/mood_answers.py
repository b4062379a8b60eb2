"""In what mood a market is: the newest part of a period against the rest of it."""

from collections.abc import Callable

import msgspec

from analytics import arguments as a
from analytics import micro
from analytics.books import TopRow
from analytics.endpoint import Answer, Ask, Endpoint
from analytics.market_figures import band, deals, listing, tops
from analytics.mood import FORMULA, PARTS, WEIGHTS, component, score
from analytics.tape import Deal, traded

SKEW_BAND = micro.BANDS_BPS.index(100)
Series = list[float | None]


async def sentiment(ask: Ask) -> Answer:
    one = listing(ask)
    trades, rows = await deals(ask, one), await tops(ask, one, ask.since)
    start = ask.since
    if start < 0:  # the whole history, which begins with the book
        start = rows[0].timestamp if rows else ask.at.timestamp
    length = max(ask.at.timestamp - start, 1)

    def part(timestamp: int) -> int:
        """Which part of the period a time belongs to; -1 is before it."""
        return -1 if timestamp < start else min((timestamp - start) * PARTS // length, PARTS - 1)

    values = {**_traded(trades, part), **_books(rows, part)}
    components = {name: component(values[name]) for name in WEIGHTS}
    total = score(components)
    return {
        "symbol": one.market.symbol,
        "period": ask["period"],
        "parts": PARTS,
        "score": None if total is None else round(total, 2),
        "components": {name: msgspec.to_builtins(each) for name, each in components.items()},
        "weights": WEIGHTS,
        "formula": FORMULA,
        "reason": "no component is known in the newest part" if total is None else None,
    }


def _traded(trades: list[Deal], part: Callable[[int], int]) -> dict[str, Series]:
    by_part: list[list[Deal]] = [[] for _ in range(PARTS)]
    for trade in trades:
        by_part[part(trade.timestamp)].append(trade)
    buys: Series = []
    volumes: Series = []
    for found in map(traded, by_part):
        skew = micro.imbalance(found.bought, found.quantity - found.bought)
        buys.append(None if skew is None else float(skew))
        volumes.append(float(found.quantity))
    return {"taker_buys": buys, "volume_surprise": volumes}


def _books(rows: list[TopRow], part: Callable[[int], int]) -> dict[str, Series]:
    flows: list[list[int]] = [[] for _ in range(PARTS)]
    last: list[TopRow | None] = [None] * PARTS
    before: TopRow | None = None
    for row in rows:
        at = part(row.timestamp)
        if at < 0:
            before = row
        else:
            flows[at].append(row.order_flow)
            last[at] = row
    flow: Series = [sum(of) / sum(map(abs, of)) if any(of) else None for of in flows]
    skews: Series = []
    moves: Series = []
    for newest in last:
        now = newest or before  # an untouched book is as it was
        skews.append(None if now is None else _skew(now))
        mids = [None if one is None else one.top.mid for one in (before, now)]
        moves.append(float(mids[1] / mids[0] - 1) if mids[0] and mids[1] else None)
        before = now
    return {"order_flow": flow, "depth_skew": skews, "momentum": moves}


def _skew(row: TopRow) -> float | None:
    bids, asks = band(row, "bid", SKEW_BAND), band(row, "ask", SKEW_BAND)
    skew = None if bids is None or asks is None else micro.imbalance(bids, asks)
    return None if skew is None else float(skew)


ENDPOINTS = (
    Endpoint(
        "/api/market/sentiment",
        "A score from 0 to 100, its formula and its components",
        (a.SYMBOL, a.PERIOD),
        sentiment,
    ),
)
