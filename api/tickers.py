"""Markets over the 24 hours up to a block, as GraphQL has them."""

from collections.abc import Sequence

import strawberry

from api import market_reads, past_books, reads, types, view
from api.scalars import Long
from indexer.domain.interval import DAY_S, open_time
from indexer.domain.listing import Listing
from indexer.store.snapshot import Snapshot


@strawberry.type(description="One market over 24 hours up to the head block. Null: no trade.")
class Ticker:
    market: types.Market
    last: str | None
    open: str | None
    high: str | None
    low: str | None
    volume: str
    quote_volume: str
    trades: int
    bid: str | None
    ask: str | None
    open_time: Long
    close_time: Long


async def read(snapshot: Snapshot, listings: Sequence[Listing], at: int | None) -> list[Ticker]:
    """The tickers of those markets that existed after block `at` (None: at the head)."""
    position = await reads.position(snapshot)
    if position is None or position.timestamp is None:
        return []
    now = position.timestamp if at is None else (await view.header_at(snapshot, at)).timestamp
    since, markets = open_time("1m", now - DAY_S), [one.address for one in listings]
    if at is None:
        found = await market_reads.tickers(snapshot, since=since, markets=markets)
    else:
        found = await past_books.tickers_at(snapshot, since=since, at=at, now=now, markets=markets)
    there = (one for one in listings if at is None or one.market.created_block <= at)
    return [_told(one, found[one.address], since, now) for one in there]


def _told(listing: Listing, found: market_reads.Ticker, since: int, now: int) -> Ticker:
    def price(units: int | None) -> str | None:
        return None if units is None else listing.price(units)

    return Ticker(
        market=types.Market.of(listing),
        last=price(found.last_price),
        open=price(found.open),
        high=price(found.high),
        low=price(found.low),
        volume=listing.quantity(found.volume or 0),
        quote_volume=listing.quote_amount(found.quote_volume or 0),
        trades=found.trades or 0,
        bid=price(found.bid),
        ask=price(found.ask),
        open_time=Long(since),
        close_time=Long(now),
    )
