"""Who makes a market, and who leads."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import product

from analytics import account_reads, market_reads, micro, reads, text
from analytics import arguments as a
from analytics.account import Moment, held_tokens, load_marks, moments, quote_token
from analytics.endpoint import Answer, Ask, Endpoint
from analytics.journal import Entry, journal
from analytics.market_figures import (
    HORIZONS,
    around,
    deals,
    listing,
    mean,
    mid_at,
    mids,
)
from analytics.marks import Series
from analytics.portfolio import equity
from analytics.quoting import Orders, Quoted, QuoteRow, lives, quoted, uptime
from analytics.reads import Listing
from analytics.tape import Deal
from indexer.domain.order import Trade
from indexer.domain.units import Address

NO_SCORE = "never on both sides within 100 bps of mid"
TOO_MANY = "too many quotes to look at: ask for a quieter market or an earlier block"


async def makers(ask: Ask) -> Answer:
    """Makers of a market by what they made, and how they quoted while they did."""
    one = listing(ask)
    trades = await deals(ask, one)
    rows = await market_reads.quote_rows(ask.snapshot, one.market.address, ask.at.number)
    first, last = await _blocks(ask, rows), ask.at.number
    known = await mids(ask, one, {first, *around(trades)})
    counts = await market_reads.order_counts(
        ask.snapshot, one.market.address, ask.since, ask.at.number
    )
    up, lived = uptime(rows, first, last), lives(rows, first, last)
    offers = quoted(rows, await _mids_from(ask, one, known, first), one.base.unit, first, last)
    total = sum(trade.quote_amount for trade in trades)
    made: dict[Address, list[Deal]] = {}
    for trade in trades:
        made.setdefault(trade.maker, []).append(trade)
    volumes = {who: sum(trade.quote_amount for trade in mine) for who, mine in made.items()}
    ordered = sorted(made.keys() | up.keys(), key=lambda who: (-volumes.get(who, 0), who))
    told = []
    for account in ordered[: ask["limit"]]:
        volume, kinds = volumes.get(account, 0), counts.get(account, {})
        placed, cancelled = kinds.get("placed", 0), kinds.get("cancelled", 0)
        life, offer = lived.get(account, Orders()), (offers or {}).get(account, Quoted())
        score = offer.score(last + 1 - first, one.quote.unit)
        told.append(
            {
                "account": account,
                "trades": len(made.get(account, ())),
                "quote_volume": text.amount(volume, one.quote.decimals),
                "share": text.ratio(Fraction(volume, total)) if total else None,
                "uptime": text.ratio(up.get(account, Fraction(0))),
                "placed": placed,
                "cancel_ratio": text.ratio(Fraction(cancelled, placed)) if placed else None,
                "fill_ratio": text.ratio(life.fill_ratio),
                "quote_life_blocks": text.ratio(life.mean_life, 2),
                "markout_bps": _markouts(ask, made.get(account, []), known),
                "score": text.ratio(score),
                "score_reason": TOO_MANY if offers is None else None if score else NO_SCORE,
            }
        )
    return {"symbol": one.market.symbol, "period": ask["period"], "makers": told}


async def _mids_from(
    ask: Ask, one: Listing, known: Series, first: int
) -> list[tuple[int, Fraction]]:
    """The mid that held at a block, and each that a later one left."""
    held = mid_at(known, first)
    rows = await market_reads.tops(ask.snapshot, one, first, ask.at.number)
    later = [(row.block_number, row.top.mid) for row in rows if row.block_number > first]
    return [(number, mid) for number, mid in ((first, held), *later) if mid is not None]


async def _blocks(ask: Ask, rows: Sequence[QuoteRow]) -> int:
    """The first block of the period, or of the market if that is later."""
    first = await reads.block_at(ask.snapshot, ask.since, ask.at.number) + 1
    return max(first, rows[0].block_number) if rows else first


def _markouts(ask: Ask, mine: Sequence[Deal], known: Series) -> dict[str, str | None]:
    """What the maker gained a unit once the mid had moved, in bps of the price."""
    told = {}
    for blocks in HORIZONS:
        gains = []
        for trade in mine:
            after = mid_at(known, trade.block_number + blocks)
            if after is not None and trade.block_number + blocks <= ask.at.number:
                gain = micro.markout(trade.price, after, trade.taker_side)
                gains.append(-gain * micro.BPS / trade.price)
        told[f"{blocks}_blocks"] = text.ratio(mean(gains))
    return told


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
    quote = quote_token(ask)
    markets = [one.market.address for one in ask.listings]
    found = await ask.memory.deals(ask.view, markets, ask.since)
    needed = (
        (one.quote.address, deal.block_number)
        for one in ask.listings
        if one.quote != quote
        for deal in found[one.market.address]
    )
    marks = await load_marks(ask, quote, needed)
    sums: dict[Address, int] = {}
    for one in ask.listings:
        for deal in found[one.market.address]:
            amount: int | None = deal.quote_amount
            if one.quote.address != marks.quote:
                rate = marks.rate(one.quote.address, deal.block_number)
                amount = None if rate is None else rate.of(deal.quote_amount)
            if amount is not None:
                for account in (deal.maker, deal.taker):
                    sums[account] = sums.get(account, 0) + amount
    return sums


async def _profits(ask: Ask) -> dict[Address, int]:
    """Accounts without a known value at either end are left out."""
    markets = {one.market.address: one.market for one in ask.listings}
    start = await reads.block_at(ask.snapshot, ask.since, ask.at.number)
    span = (ask.snapshot, start, ask.at.number)
    trades: dict[Address, list[Trade]] = {}
    for trade in await market_reads.all_trades(*span):
        for account in {trade.maker, trade.taker}:
            trades.setdefault(account, []).append(trade)
    ends = [(start, ask.since), (ask.at.number, ask.at.timestamp)]
    before = await account_reads.balances_at(ask.snapshot, start)
    changes = await account_reads.all_balances(*span)
    journals: dict[Address, tuple[list[Entry], dict[Address, int]]] = {}
    needed: set[Moment] = set()
    for account in before.keys() | changes.keys():
        held = {row.token: row for row in before.get(account, ())}
        rows = changes.get(account, [])
        entries: list[Entry] = journal(account, trades.get(account, []), rows, markets, held)
        amounts = {token: row.available + row.locked for token, row in held.items()}
        journals[account] = entries, amounts
        needed.update(moments(entries))
        needed.update(product(amounts.keys() | held_tokens(entries), (start, ask.at.number)))
    marks = await load_marks(ask, quote_token(ask), needed)
    figures = {}
    for account, (entries, amounts) in journals.items():
        then, now = equity(entries, marks, ends, amounts)
        if then.value is not None and now.value is not None:
            figures[account] = now.value - then.value - now.flow
    return figures


_KIND = a.one_of("type", "What leads.", None, "volume", "pnl")
ENDPOINTS = (
    Endpoint(
        "/api/market/makers",
        "Makers by volume made: uptime, score, markouts, what became of their orders",
        (a.SYMBOL, a.PERIOD, a.LIMIT),
        makers,
        "makers",
    ),
    Endpoint(
        "/api/leaderboard/{type}/{period}",
        "Accounts by volume or by profit",
        (a.in_path(_KIND), a.in_path(a.PERIOD), a.QUOTE, a.LIMIT),
        leaderboard,
        "leaders",
    ),
)
