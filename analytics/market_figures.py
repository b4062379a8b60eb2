"""What market answers have in common: their market, its trades and its book, as they are told.

Means of the book are weighted by time, block to block, over the period asked for.
"""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any

from analytics import market_reads, micro, ratios, reads, text
from analytics.books import TopRow
from analytics.endpoint import Ask
from analytics.marks import Series
from analytics.reads import Listing
from analytics.tape import Deal, Traded

Samples = list[tuple[int, Fraction | int | None]]
Book = dict[Any, list[tuple[int, int]]]
HORIZONS = (1, 10, 100)
"""Blocks after a trade at which its markout is taken."""
NO_TOP = micro.Top(None, 0, None, 0)


def listing(ask: Ask) -> Listing:
    return reads.find_symbol(ask.listings, "symbol", ask["symbol"])


def listings(ask: Ask) -> Sequence[Listing]:
    """The market asked for; without, all of them."""
    return ask.listings if ask["symbol"] is None else [listing(ask)]


async def deals(ask: Ask, one: Listing) -> list[Deal]:
    """The market's trades of the period."""
    market = one.market.address
    return (await ask.memory.deals(ask.view, [market], ask.since))[market]


async def levels(ask: Ask, one: Listing) -> Book:
    """The market's book, best first."""
    return await market_reads.levels_at(ask.snapshot, one.market.address, ask.at.number)


async def tops(ask: Ask, one: Listing, since: int) -> list[TopRow]:
    """The market's book block by block later than a time, and first as it was then."""
    start = await reads.block_at(ask.snapshot, since, ask.at.number)
    return await market_reads.tops(ask.snapshot, one, start, ask.at.number)


async def mids(ask: Ask, one: Listing, blocks: Iterable[int]) -> Series:
    """The market's mids at some blocks, and at the one asked for."""
    market = one.market.address
    return (await ask.memory.prices(ask.view, {market: set(blocks)}, "mid"))[market]


def around(trades: Iterable[Deal]) -> Iterator[int]:
    """The blocks at which trades are measured: their own, the one before, those at HORIZONS."""
    for number in {trade.block_number for trade in trades}:
        for distance in (-1, 0, *HORIZONS):
            yield number + distance


def mid_at(series: Series, block_number: int) -> Fraction | None:
    """The newest mid up to a block; None before there was one."""
    mark = series.at(block_number)
    return None if mark is None or mark.later else mark.price


def tell_traded(one: Listing, found: Traded) -> dict[str, Any]:
    base, quote = one.base.decimals, one.quote.decimals
    return {
        "trades": found.trades,
        "volume": text.amount(found.quantity, base),
        "quote_volume": text.amount(found.quote_amount, quote),
        "taker_buy_volume": text.amount(found.bought, base),
        "accounts": found.accounts,
        "last": text.amount(found.last, quote),
        "high": text.amount(found.high, quote),
        "low": text.amount(found.low, quote),
        "vwap": text.price(found.vwap, quote),
    }


def tell_top(one: Listing, top: micro.Top) -> dict[str, Any]:
    return {
        "bid": text.amount(top.bid, one.quote.decimals),
        "bid_quantity": text.amount(top.bid_quantity, one.base.decimals),
        "ask": text.amount(top.ask, one.quote.decimals),
        "ask_quantity": text.amount(top.ask_quantity, one.base.decimals),
        "mid": text.price(top.mid, one.quote.decimals),
        "spread_bps": text.ratio(micro.spread_bps(top)),
    }


def top_of(book: Book) -> micro.Top:
    bid, bid_quantity = book["buy"][0] if book["buy"] else (None, 0)
    ask, ask_quantity = book["sell"][0] if book["sell"] else (None, 0)
    return micro.Top(bid, bid_quantity, ask, ask_quantity)


def samples(rows: Iterable[TopRow], read: Any, since: int) -> Samples:
    """One value of each row from when it held, not before the period began."""
    return [(max(row.timestamp, since), read(row)) for row in rows]


def band(row: TopRow, side: str, at: int) -> int | None:
    """The depth within the band numbered `at`; None without a mid."""
    depths = row.bid_depth if side == "bid" else row.ask_depth
    return depths[at] if depths else None


def mean(values: Sequence[Fraction]) -> Fraction | None:
    return ratios.total(values) / len(values) if values else None
