"""What a market's answers are made of: its book block by block, and its trades."""

from collections.abc import Collection, Iterable
from fractions import Fraction
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Text,
    any_,
    bindparam,
    column,
    func,
    literal_column,
    select,
    true,
    union,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by

from analytics.books import BookState, LevelRow, TopRow, fold_levels
from analytics.limits import MAX_ENTRIES, MAX_TOPS
from analytics.quoting import QuoteRow
from analytics.reads import TRADE_COLUMNS, Listing, block_at, require_few
from analytics.tape import Deal, Traded, traded
from indexer.domain.order import Side, Trade
from indexer.domain.units import Address
from indexer.store import relations as t
from indexer.store.books import book_at
from indexer.store.columns import Hex
from indexer.store.queries import Query
from indexer.store.snapshot import Snapshot


async def levels_at(
    snapshot: Snapshot, market: Address, upto: int
) -> dict[Side, list[tuple[int, int]]]:
    """A market's book at the end of a block, best first."""
    then = await book_at(snapshot, market, upto)
    sides: tuple[Side, Side] = ("buy", "sell")
    return {side: [(one.price, one.quantity) for one in then.depth(side)] for side in sides}


async def tops(snapshot: Snapshot, listing: Listing, start: int, upto: int) -> list[TopRow]:
    """A market's book block by block behind one block, and first as it was at that block's end.

    From the rows kept while they stand where the writer stands, else folded from level changes:
    the same rows, only later (the first then says the block asked for, and no order flow).
    """
    market = listing.market.address
    if await kept_markets(snapshot, [market]):
        values = {"market": market, "start": start, "upto": upto}
        found = await snapshot.read(_KEPT_TOPS, values)
        require_few(found, MAX_TOPS, "period")
        return [TopRow(*row) for row in found]
    book, first = await _book_at(snapshot, listing, start)
    changes = await _level_changes(snapshot, market, start, upto)
    rows = fold_levels(book, changes, None if first is None else first.top)
    return list(rows) if first is None else [first, *rows]


async def page_start(snapshot: Snapshot, market: Address, before: int, blocks: int) -> int:
    """The block behind which lie the newest so many, before another, that touched a book."""
    values = {"market": market, "before": before, "blocks": blocks}
    found = await snapshot.read(_TOUCHING, values)
    return found[-1].block_number - 1 if len(found) == blocks else -1


async def _book_at(
    snapshot: Snapshot, listing: Listing, number: int
) -> tuple[BookState, TopRow | None]:
    """A market's book at the end of a block, and its row, if it had ever held anything."""
    market = listing.market.address
    book = BookState(market, listing.base.unit)
    touched = await snapshot.read(_TOUCHED, {"market": market, "number": number})
    if not touched:
        return book, None
    for side, levels in (await levels_at(snapshot, market, number)).items():
        for price, quantity in levels:
            book.set(side, price, quantity)
    return book, book.row(number, touched[0].timestamp, None)


_lc = t.level_changes.c
_TOUCHED = Query(
    select(t.blocks.c.timestamp)
    .join(t.level_changes, (t.blocks.c.number == _lc.block_number) & t.blocks.c.canonical)
    .where(_lc.market == bindparam("market"), _lc.block_number <= bindparam("number"))
    .order_by(_lc.block_number.desc())
    .limit(1)
)
_TOUCHING = Query(
    select(_lc.block_number)
    .distinct()
    .where(_lc.market == bindparam("market"), _lc.block_number < bindparam("before"))
    .order_by(_lc.block_number.desc())
    .limit(bindparam("blocks"))
)
_k = t.analytics_tops.c
_KEPT_TOPS = Query(
    select(t.analytics_tops)
    .where(_k.market == bindparam("market"), _k.block_number <= bindparam("upto"))
    .where(
        _k.block_number
        >= select(func.coalesce(func.max(_k.block_number), -1))
        .where(_k.market == bindparam("market"), _k.block_number <= bindparam("start"))
        .scalar_subquery()
    )
    .order_by(_k.block_number)
    .limit(MAX_TOPS + 1)
)


async def kept_markets(snapshot: Snapshot, markets: Collection[Address]) -> set[Address]:
    """Those of the markets whose rows in analytics_tops lack no message."""
    names = {f"depth:{market}": market for market in markets}
    rows = await snapshot.read(_NOT_KEPT, {"channels": list(names)})
    if not rows:
        return set()
    return set(markets) - {names[channel] for channel in rows[0][0] or ()}


_a, _c, _ch = t.analytics_cursor.c, t.cursors.c, t.channels.c
_NOT_KEPT = Query(
    select(
        select(func.array_agg(_ch.channel))
        .where(_ch.channel == any_(bindparam("channels", type_=ARRAY(Text))), _ch.seq > _a.seq)
        .correlate(t.analytics_cursor)
        .scalar_subquery()
    )
    .select_from(t.analytics_cursor.join(t.cursors, true()))
    .where(_a.epoch == _c.epoch, _c.live)
)


_MARKETS: Any = bindparam("markets", type_=ARRAY(Hex))


def _inside(number: Any) -> Any:
    return (number > bindparam("behind")) & (number <= bindparam("upto"))


async def _level_changes(
    snapshot: Snapshot, market: Address, behind: int, upto: int
) -> Iterable[LevelRow]:
    lc, b = t.level_changes.c, t.blocks.c
    statement = (
        select(lc.block_number, b.timestamp, lc.side, lc.price, lc.quantity)
        .join(t.blocks, (b.number == lc.block_number) & b.canonical)
        .where(lc.market == market, lc.block_number > behind, lc.block_number <= upto)
        .order_by(lc.block_number)
        .limit(MAX_TOPS + 1)
    )
    rows = await snapshot.read(statement)
    require_few(rows, MAX_TOPS, "symbol")
    return (LevelRow(*tuple(row)) for row in rows)


async def all_trades(snapshot: Snapshot, behind: int, upto: int) -> list[Trade]:
    """Every trade behind a block, up to another, oldest first."""
    rows = await snapshot.read(_ALL_TRADES, {"behind": behind, "upto": upto})
    require_few(rows, MAX_ENTRIES, "period")
    return [Trade(*row) for row in rows]


_tr = t.trades.c
_ALL_TRADES = Query(
    select(*TRADE_COLUMNS)
    .where(_inside(_tr.block_number))
    .order_by(_tr.block_number, _tr.log_index)
    .limit(MAX_ENTRIES + 1)
)


async def new_deals(
    snapshot: Snapshot, markets: dict[Address, int], since: int, upto: int, room: int
) -> dict[Address, list[Deal]]:
    """The markets' trades later than `since`, behind the block named with each, up to another.

    Raises BadInput if they are more than there is room for.
    """
    cold = min(markets.values()) < 0
    start = await block_at(snapshot, since, upto) if cold else -1
    values = {
        "markets": list(markets),
        "numbers": [max(number, start) for number in markets.values()],
        "upto": upto,
        "since": since,
        "most": max(room, 0) + 1,
    }
    if cold:  # to count first costs less than to read too many
        require_few(range((await snapshot.read(_DEALS_COUNT, values))[0][0]), room, "period")
    rows = await snapshot.read(_DEALS, values)
    require_few(rows, room, "period")
    found: dict[Address, list[Deal]] = {market: [] for market in markets}
    for market, *deal in rows:
        found[market].append(Deal(*deal))
    return found


async def traded_sums(
    snapshot: Snapshot, markets: Collection[Address], since: int, upto: int
) -> dict[Address, Traded]:
    """What the markets' trades later than `since` amount to, as the database counts them."""
    values = {"markets": list(markets), "since": since, "upto": upto}
    return {**dict.fromkeys(markets, traded(())), **await _counted(snapshot, _BY_MARKET, values)}


async def hourly_sums(
    snapshot: Snapshot, market: Address, since: int, upto: int
) -> dict[int, Traded]:
    """The same of one market, by the second at which each hour with trades began."""
    values = {"markets": [market], "since": since, "upto": upto}
    return dict(sorted((await _counted(snapshot, _BY_HOUR, values)).items()))


async def _counted(
    snapshot: Snapshot, by: tuple[Query, Query], values: dict[str, Any]
) -> dict[Any, Traded]:
    sums, accounts = by
    known = {row[0]: row[1] for row in await snapshot.read(accounts, values)}
    found = {}
    for row in map(tuple, await snapshot.read(sums, values)):
        key, trades, quantity, amount, bought, weighed, last, high, low = row
        vwap = Fraction(weighed, quantity) if quantity else None
        told = (trades, quantity, amount, bought, known[key], last, high, low)
        found[key] = Traded(*told, vwap)
    return found


_asked = (
    func.unnest(_MARKETS, bindparam("numbers", type_=ARRAY(BigInteger)))
    .table_valued(column("market", Hex), column("number", BigInteger), name="asked")
    .render_derived()
)
_later = (_tr.block_number <= bindparam("upto")) & (_tr.timestamp > bindparam("since"))
_most = bindparam("most", type_=BigInteger)
_new = (
    select(_tr.market, _tr.log_index, *(_tr[name] for name in Deal._fields))
    .where(_tr.market == _asked.c.market, _tr.block_number > _asked.c.number, _later)
    .order_by(_tr.block_number, _tr.log_index)
    .limit(_most)
    .lateral("new")
)
_every_new = _asked.join(_new, true())
_DEALS = Query(
    select(_new.c.market, *(_new.c[name] for name in Deal._fields))
    .select_from(_every_new)
    .order_by(_new.c.block_number, _new.c.log_index)
    .limit(_most)
)
_DEALS_COUNT = Query(
    select(func.count()).select_from(
        select(_new.c.market).select_from(_every_new).limit(_most).subquery()
    )
)
_of_markets = (_tr.market == any_(_MARKETS)) & _later
_newest_first = aggregate_order_by(_tr.price, _tr.block_number.desc(), _tr.log_index.desc())


def _by(key: Any) -> tuple[Query, Query]:
    """Trades summed by a key; and how many accounts made or took them."""
    sums = select(
        *(key.label("key"), func.count(), func.sum(_tr.quantity), func.sum(_tr.quote_amount)),
        func.coalesce(func.sum(_tr.quantity).filter(_tr.taker_side == "buy"), 0),
        func.sum(_tr.price * _tr.quantity),
        *((func.array_agg(_newest_first))[1], func.max(_tr.price), func.min(_tr.price)),
    )
    sides = union(
        select(key.label("key"), _tr.maker).where(_of_markets),
        select(key.label("key"), _tr.taker).where(_of_markets),
    ).subquery()
    accounts = select(sides.c.key, func.count()).group_by(sides.c.key)
    return Query(sums.where(_of_markets).group_by("key")), Query(accounts)


_BY_MARKET = _by(_tr.market)
_BY_HOUR = _by(_tr.timestamp - _tr.timestamp % literal_column("3600"))


async def order_counts(
    snapshot: Snapshot, market: Address, since: int, upto: int
) -> dict[Address, dict[str, int]]:
    """How often each account's orders in a market were placed, traded, cancelled, …"""
    oc, b = t.order_changes.c, t.blocks.c
    statement = (
        select(oc.account, oc.kind, func.count())
        .join(t.blocks, (b.number == oc.block_number) & b.canonical)
        .where(oc.market == market, oc.block_number <= upto, b.timestamp > since)
        .group_by(oc.account, oc.kind)
    )
    found: dict[Address, dict[str, int]] = {}
    for account, kind, count in map(tuple, await snapshot.read(statement)):
        found.setdefault(account, {})[kind] = count
    return found


async def quote_rows(snapshot: Snapshot, market: Address, upto: int) -> list[QuoteRow]:
    """Every event in the life of a market's limit orders, up to a block."""
    o, oc = t.orders.c, t.order_changes.c
    statement = (
        select(
            *(o.account, o.side, o.order_id, oc.block_number, oc.status),
            *(o.price, o.quantity, oc.filled),
        )
        .join(t.orders, (o.market == oc.market) & (o.order_id == oc.order_id))
        .where(oc.market == market, oc.block_number <= upto, o.type == "limit")
        .order_by(oc.block_number, oc.ordinal)
        .limit(MAX_ENTRIES + 1)
    )
    rows = await snapshot.read(statement)
    require_few(rows, MAX_ENTRIES, "symbol")
    return [QuoteRow(*row) for row in rows]
