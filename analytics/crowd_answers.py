"""Who makes a market, who leads it, and in what mood it is."""

from fractions import Fraction
from typing import Any

from analytics import account_reads, market_reads, micro, reads, text
from analytics import arguments as a
from analytics.account import load_marks, quote_token
from analytics.endpoint import Answer, Ask, Endpoint
from analytics.journal import Entry, journal
from analytics.market_figures import deals, levels, listing, top_of, tops, window
from analytics.portfolio import equity
from analytics.tape import Deal
from indexer.domain.order import Trade
from indexer.domain.units import Address

WEIGHTS = {
    "taker_buys": Fraction(30, 100),
    "order_flow": Fraction(25, 100),
    "depth_skew": Fraction(20, 100),
    "momentum": Fraction(25, 100),
}
"""Of the components of sentiment; what is unknown is left out, and the rest weighs more."""
MOMENTUM_BPS = 100
"""The move of a period that counts as the whole of its component."""
SKEW_BAND = micro.BANDS_BPS.index(100)
FORMULA = (
    "score = 50 + 50 * sum(weight * component) / sum(weight), each component from -1 to 1: "
    "taker_buys = (taker buys - taker sells) / volume; order_flow = sum(e_n) / sum(|e_n|); "
    "depth_skew = (bids - asks) / both within 100 bps; momentum = (last / first - 1) / 1%, capped"
)


async def makers(ask: Ask) -> Answer:
    """Makers of a market by what they made; uptime is of the book, since the chain tells orders."""
    one = listing(ask)
    market = one.market.address
    trades = await deals(ask, one)
    counts = await market_reads.order_counts(ask.snapshot, market, ask.since, ask.at.number)
    uptime = await market_reads.maker_uptime(ask.snapshot, market, ask.since, ask.at)
    total = sum(trade.quote_amount for trade in trades)
    made: dict[Address, list[Deal]] = {}
    for trade in trades:
        made.setdefault(trade.maker, []).append(trade)
    accounts = made.keys() | uptime.keys()
    rows: list[dict[str, Any]] = []
    for account in accounts:
        mine = made.get(account, [])
        volume = sum(trade.quote_amount for trade in mine)
        kinds = counts.get(account, {})
        placed = kinds.get("placed", 0)
        rows.append(
            {
                "account": account,
                "trades": len(mine),
                "quote_volume": text.amount(volume, one.quote.decimals),
                "share": text.ratio(Fraction(volume, total)) if total else None,
                "uptime": text.ratio(uptime.get(account, Fraction(0))),
                "placed": placed,
                "cancel_ratio": text.ratio(Fraction(kinds.get("cancelled", 0), placed))
                if placed
                else None,
                "_volume": volume,
            }
        )
    rows.sort(key=lambda row: (-row.pop("_volume"), row["account"]))
    return {"symbol": one.market.symbol, "period": ask["period"], "makers": rows[: ask["limit"]]}


async def sentiment(ask: Ask) -> Answer:
    one = listing(ask)
    trades = await deals(ask, one)
    rows = window(await tops(ask, one), ask.since)
    book = await levels(ask, one)
    flows = [row.order_flow for row in rows[1:]]
    bought = sum(trade.quantity for trade in trades if trade.taker_side == "buy")
    sold = sum(trade.quantity for trade in trades) - bought
    mid, bps = top_of(book).mid, micro.BANDS_BPS[SKEW_BAND]
    depths = [
        0 if mid is None else micro.depth(book[side], mid, bps, one.base.unit)
        for side in ("buy", "sell")
    ]
    components: dict[str, Fraction | None] = {
        "taker_buys": micro.imbalance(bought, sold),
        "order_flow": Fraction(sum(flows), sum(map(abs, flows))) if any(flows) else None,
        "depth_skew": micro.imbalance(depths[0], depths[1]),
        "momentum": _momentum(trades),
    }
    known = {name: value for name, value in components.items() if value is not None}
    weight = sum(WEIGHTS[name] for name in known)
    score = None
    if weight:
        score = 50 + 50 * sum(WEIGHTS[name] * value for name, value in known.items()) / weight
    return {
        "symbol": one.market.symbol,
        "period": ask["period"],
        "score": text.ratio(score, 2),
        "components": {name: text.ratio(value) for name, value in components.items()},
        "weights": {name: text.ratio(value) for name, value in WEIGHTS.items()},
        "formula": FORMULA,
        "reason": None if known else "nothing was traded and nothing is in the book",
    }


def _momentum(trades: list[Deal]) -> Fraction | None:
    if len(trades) < 2:
        return None
    move = (Fraction(trades[-1].price, trades[0].price) - 1) * micro.BPS / MOMENTUM_BPS
    return max(Fraction(-1), min(Fraction(1), move))


async def leaderboard(ask: Ask) -> Answer:
    """By volume in the quote token, or by profit: value now less value then less net flows."""
    quote = quote_token(ask)
    figures = await (_profits(ask) if ask["type"] == "pnl" else _volumes(ask))
    ordered = sorted(figures.items(), key=lambda pair: (-pair[1], pair[0]))[: ask["limit"]]
    return {
        "type": ask["type"],
        "period": ask["period"],
        "quote": {"symbol": quote.symbol, "address": quote.address, "decimals": quote.decimals},
        "leaders": [
            {"rank": rank, "account": account, ask["type"]: text.amount(figure, quote.decimals)}
            for rank, (account, figure) in enumerate(ordered, 1)
        ],
    }


async def _volumes(ask: Ask) -> dict[Address, int]:
    """Both sides of every trade whose quote token has a rate."""
    marks = await load_marks(ask, quote_token(ask))
    markets = [one.market.address for one in ask.listings]
    found = await ask.memory.deals(ask.view, markets, ask.since)
    sums: dict[Address, int] = {}
    for one in ask.listings:
        for deal in found[one.market.address]:
            rate = marks.rate(one.quote.address, deal.block_number)
            if rate is not None:
                for account in (deal.maker, deal.taker):
                    sums[account] = sums.get(account, 0) + rate.of(deal.quote_amount)
    return sums


async def _profits(ask: Ask) -> dict[Address, int]:
    """Accounts without a known value at either end are left out."""
    marks = await load_marks(ask, quote_token(ask))
    markets = {one.market.address: one.market for one in ask.listings}
    trades: dict[Address, list[Trade]] = {}
    for trade in await market_reads.all_trades(ask.snapshot, ask.at.number):
        for account in {trade.maker, trade.taker}:
            trades.setdefault(account, []).append(trade)
    start = await reads.block_at(ask.snapshot, ask.since, ask.at.number)
    ends = [(start, ask.since), (ask.at.number, ask.at.timestamp)]
    figures = {}
    for account, rows in (await account_reads.all_balances(ask.snapshot, ask.at.number)).items():
        entries: list[Entry] = journal(account, trades.get(account, []), rows, markets)
        then, now = equity(entries, marks, ends)
        if then.value is not None and now.value is not None:
            figures[account] = now.value - then.value - now.flow
    return figures


_KIND = a.one_of("type", "What leads.", None, "volume", "pnl")
ENDPOINTS = (
    Endpoint(
        "/api/market/makers",
        "Makers by volume made, with uptime and cancel ratio",
        (a.SYMBOL, a.PERIOD, a.LIMIT),
        makers,
        "makers",
    ),
    Endpoint(
        "/api/market/sentiment",
        "A score from 0 to 100, its formula and its components",
        (a.SYMBOL, a.PERIOD),
        sentiment,
    ),
    Endpoint(
        "/api/leaderboard/{type}/{period}",
        "Accounts by volume or by profit",
        (a.in_path(_KIND), a.in_path(a.PERIOD), a.QUOTE, a.LIMIT),
        leaderboard,
        "leaders",
    ),
)
