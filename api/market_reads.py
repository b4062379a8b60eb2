"""SQL about markets' trading: tickers, and trades by number and time."""

from collections.abc import Collection
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Select, bindparam, func, select, true, tuple_
from sqlalchemy.sql.selectable import LateralFromClause

from api import reads
from api.arguments import Cursor
from indexer.domain.order import Level, Side, Trade
from indexer.domain.trade_ids import trade_id
from indexer.domain.units import Address
from indexer.store import relations as t
from indexer.store.columns import Units
from indexer.store.queries import Query, Shaped, one_of
from indexer.store.snapshot import Snapshot


@dataclass(frozen=True)
class Ticker:
    """One market over a window that ends at the head block, in contract units.

    Prices are None where there never was a trade; sums and the numbers of the first and last trade
    are None where there was none in the window.
    """

    market: Address
    last_price: int | None
    last_quantity: int | None
    last_time: int | None
    last_id: int | None
    first_price: int | None
    first_id: int | None
    before: int | None
    """The last price before the window."""
    high: int | None
    low: int | None
    volume: int | None
    quote_volume: int | None
    trades: int | None
    bid: int | None
    bid_quantity: int | None
    ask: int | None
    ask_quantity: int | None

    @property
    def open(self) -> int | None:
        """The window's first price; the price that stood still where there was no trade."""
        return self.last_price if self.first_price is None else self.first_price


def _best(side: Side, name: str) -> LateralFromClause:
    lv = t.levels.c
    return (
        select(lv.price, lv.quantity)
        .where(lv.market == t.markets.c.address, lv.side == side, lv.quantity > 0)
        .order_by(lv.price.desc() if side == "buy" else lv.price.asc())
        .limit(1)
        .lateral(name)
    )


async def tickers(
    snapshot: Snapshot, *, since: int, markets: Collection[Address] | None
) -> dict[Address, Ticker]:
    """Every market's ticker from `since`, which begins a minute. One statement for all of them."""
    query, values = _TICKERS(since=since, markets=None if markets is None else list(markets))
    return {row[0]: ticker_of(tuple(row)) for row in await snapshot.read(query, values)}


def _select_tickers(given: Collection[str]) -> Select[Any]:
    """Minutes are summed from stored candles: at most 1440 rows a market for a day.

    The other values are the first row of an index each.
    """
    m, tr, c = t.markets.c, t.trades.c, t.candles.c
    ours, since = tr.market == m.address, bindparam("since", type_=BigInteger)
    last = (
        select(tr.price, tr.quantity, tr.timestamp, tr.block_number, tr.log_index)
        .where(ours)
        .order_by(tr.block_number.desc(), tr.log_index.desc())
        .limit(1)
        .lateral("last")
    )
    first = (
        select(tr.price, tr.block_number, tr.log_index)
        .where(ours, tr.timestamp >= since)
        .order_by(tr.timestamp, tr.block_number, tr.log_index)
        .limit(1)
        .lateral("first")
    )
    before = (
        select(c.close)
        .where(c.market == m.address, c.open_time < since)
        .order_by(c.open_time.desc())
        .limit(1)
        .lateral("before")
    )
    sums = (
        select(
            func.max(c.high).label("high"),
            func.min(c.low).label("low"),
            func.sum(c.volume, type_=Units()).label("volume"),
            func.sum(c.quote_volume, type_=Units()).label("quote_volume"),
            func.sum(c.trades).label("trades"),
        )
        .where(c.market == m.address, c.open_time >= since)
        .lateral("sums")
    )
    bid, ask = _best("buy", "bid"), _best("sell", "ask")
    source: Any = t.markets
    for part in (last, first, before, sums, bid, ask):
        source = source.outerjoin(part, true())
    statement = select(
        m.address,
        last.c.price,
        last.c.quantity,
        last.c.timestamp,
        last.c.block_number,
        last.c.log_index,
        first.c.price,
        first.c.block_number,
        first.c.log_index,
        before.c.close,
        *sums.c,
        *bid.c,
        *ask.c,
    ).select_from(source)
    return statement.where(one_of(m.address, "markets")) if "markets" in given else statement


_TICKERS = Shaped(_select_tickers)


def ticker_of(row: tuple[Any, ...]) -> Ticker:
    """A ticker from the columns of `tickers`, in their order."""
    market, price, quantity, time, block, log, first_price, first_block, first_log, *rest = row
    return Ticker(
        market,
        price,
        quantity,
        time,
        None if first_block is None else trade_id(block, log),
        first_price,
        None if first_block is None else trade_id(first_block, first_log),
        *rest,
    )


async def best_levels(snapshot: Snapshot, markets: Collection[Address]) -> dict[Address, Any]:
    """The best bid and ask of markets, None where a side is empty: (price, quantity) twice."""
    rows = await snapshot.read(_BEST_LEVELS, {"markets": list(markets)})
    return {row[0]: tuple(row)[1:] for row in rows}


def _select_best_levels() -> Select[Any]:
    bid, ask = _best("buy", "bid"), _best("sell", "ask")
    source = t.markets.outerjoin(bid, true()).outerjoin(ask, true())
    statement = select(t.markets.c.address, *bid.c, *ask.c).select_from(source)
    return statement.where(one_of(t.markets.c.address, "markets"))


_BEST_LEVELS = Query(_select_best_levels())


# -- trades ----------------------------------------------------------------------------------------


def _trades(market: Address) -> Select[Any]:
    return select(t.trades).where(t.trades.c.market == market)


async def _read(snapshot: Snapshot, statement: Select[Any]) -> list[Trade]:
    return [Trade(**row) for row in await snapshot.read(statement)]


async def newest_trades(snapshot: Snapshot, market: Address, limit: int) -> list[Trade]:
    """The last trades, oldest first."""
    rows = await snapshot.read(_NEWEST_TRADES, {"of": market, "rows": limit})
    return [Trade(*row) for row in reversed(rows)]


def _select_newest_trades() -> Select[Any]:
    c = t.trades.c
    columns = (c[name] for name in Trade.__struct_fields__)
    statement = select(*columns).where(c.market == bindparam("of"))
    newest = (c.block_number.desc(), c.log_index.desc())
    return statement.order_by(*newest).limit(bindparam("rows"))


_NEWEST_TRADES = Query(_select_newest_trades())


async def trades_from(
    snapshot: Snapshot, market: Address, origin: Cursor, limit: int
) -> list[Trade]:
    """Trades from an origin on, that one included, oldest first."""
    c = t.trades.c
    statement = _trades(market).where(tuple_(c.block_number, c.log_index) >= origin)
    return await _read(snapshot, statement.order_by(c.block_number, c.log_index).limit(limit))


async def trades_between(
    snapshot: Snapshot, market: Address, *, since: int, until: int, limit: int, newest: bool = False
) -> list[Trade]:
    """Trades with `since <= timestamp <= until`, oldest first: the first of them, or the newest."""
    c = t.trades.c
    order = (c.timestamp, c.block_number, c.log_index)
    statement = (
        _trades(market)
        .where(c.timestamp.between(since, until))
        .order_by(*(one.desc() if newest else one.asc() for one in order))
        .limit(limit)
    )
    found = await _read(snapshot, statement)
    return found[::-1] if newest else found


async def mean_price(
    snapshot: Snapshot, market: Address, since: int
) -> tuple[int | None, int | None]:
    """(quantity, quote amount) traded since a time; None where there was no trade."""
    c = t.trades.c
    statement = select(
        func.sum(c.quantity, type_=Units()), func.sum(c.quote_amount, type_=Units())
    ).where(c.market == market, c.timestamp >= since)
    volume, quote_volume = tuple((await snapshot.read(statement))[0])
    return volume, quote_volume


async def first_time_and_price_before(
    snapshot: Snapshot, market: Address, time: int
) -> tuple[int | None, int | None]:
    """When the market first traded, and the last price before a time."""
    c = t.trades.c
    first = select(func.min(c.timestamp)).where(c.market == market).scalar_subquery()
    price = (
        select(c.price)
        .where(c.market == market, c.timestamp < time)
        .order_by(c.timestamp.desc(), c.block_number.desc(), c.log_index.desc())
        .limit(1)
        .scalar_subquery()
    )
    began, last = tuple((await snapshot.read(select(first, price)))[0])
    return began, last


def _select_book() -> Select[Any]:
    lv, channel = t.levels.c, t.channels.c
    link = select(channel.seq).where(channel.channel == bindparam("channel")).scalar_subquery()
    sides = []
    for side, best in (("buy", lv.price.desc()), ("sell", lv.price.asc())):
        reachable = (lv.market == bindparam("of"), lv.side == side, lv.quantity > 0)
        chosen = select(lv.side, lv.price, lv.quantity, lv.order_count).where(*reachable)
        sides.append(chosen.order_by(best).limit(bindparam("rows")).subquery())
    both = select(sides[0]).union_all(select(sides[1])).subquery("both")
    return select(both, link)


_BOOK = Query(_select_book())


class BookNow(NamedTuple):
    """Levels as takers see them: quantities and orders they can reach, best first."""

    bids: list[Level]
    asks: list[Level]
    link: int
    """The seq of the newest depth message: what a live feed continues from."""


async def book(snapshot: Snapshot, market: Address, limit: int) -> BookNow:
    """Both sides in one statement: the primary key read from both better ends."""
    bids: list[Level] = []
    asks: list[Level] = []
    channel = f"depth:{market}"
    rows = await snapshot.read(_BOOK, {"of": market, "rows": limit, "channel": channel})
    for side, price, quantity, orders, _ in rows:
        found = Level(market, side, price, 0, 0, 0, 0, quantity, orders)
        (bids if side == "buy" else asks).append(found)
    bids.sort(key=_price, reverse=True)
    asks.sort(key=_price)
    link = rows[0][4] if rows else await reads.channel_seq(snapshot, channel)
    return BookNow(bids, asks, link or 0)


_price = attrgetter("price")


async def big_trades(
    snapshot: Snapshot, market: Address, *, since: int, until: int, times: int, limit: int
) -> list[Trade]:
    """Trades with `since <= timestamp < until` worth so many times their mean, biggest first."""
    c = t.trades.c
    span = (c.market == market, c.timestamp >= since, c.timestamp < until)
    mean = select(func.avg(c.quote_amount)).where(*span).scalar_subquery()
    statement = _trades(market).where(*span, c.quote_amount >= times * mean)
    return await _read(snapshot, statement.order_by(c.quote_amount.desc()).limit(limit))
