"""Every SQL statement of the answers: one function each, named after what it finds.

All run in a request's Snapshot, and all take the block up to which the chain counts (`upto`): the
past is read from facts, never from current state.
"""

from collections.abc import Collection, Sequence
from fractions import Fraction
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, func, select, true, tuple_, union
from sqlalchemy.dialects.postgresql import distinct_on

from analytics.books import BookState, LevelRow, TopRow, fold_levels
from analytics.errors import BadInput, NotFound, Unavailable
from analytics.journal import BalanceRow
from analytics.limits import MAX_ENTRIES, MAX_TOPS
from analytics.uptime import uptime
from indexer.domain.block import Finality
from indexer.domain.market import Market, Token
from indexer.domain.order import Side, Trade
from indexer.domain.units import Address, Hash
from indexer.store import analytics_tables as k
from indexer.store import tables as t
from indexer.store.snapshot import Snapshot


class AsOf(msgspec.Struct, frozen=True):
    """The block an answer is of."""

    number: int
    hash: Hash
    timestamp: int
    finality: Finality


class Listing(msgspec.Struct, frozen=True):
    """A market with its two tokens."""

    market: Market
    base: Token
    quote: Token


# -- the chain -------------------------------------------------------------------------------------


async def chain_id(snapshot: Snapshot) -> int | None:
    rows = await snapshot.read(select(t.cursors.c.chain_id))
    return rows[0].chain_id if rows else None


async def as_of(snapshot: Snapshot, block: int | None, finality: Finality) -> AsOf:
    """The newest block of a finality, or the block asked for if it is one of those."""
    b, c = t.blocks.c, t.cursors.c
    columns = (b.number, b.hash, b.timestamp, b.finality)
    newest = select(*columns).where(b.canonical)
    if finality != "latest":
        enough = ("finalized",) if finality == "finalized" else ("safe", "finalized")
        newest = newest.where(b.finality.in_(enough))
    newest = newest.where(b.number <= select(c.block_number).scalar_subquery())
    rows = await snapshot.read(newest.order_by(b.number.desc()).limit(1))
    if not rows:
        raise Unavailable(f"no {finality} block is indexed yet")
    head = AsOf(*tuple(rows[0]))
    if block is None or block == head.number:
        return head
    rows = await snapshot.read(select(*columns).where(b.canonical, b.number == block))
    if not rows or block > head.number:
        raise BadInput("block", f"an indexed block, up to {head.number} ({finality})", block)
    return AsOf(*tuple(rows[0]))


async def block_ends(
    snapshot: Snapshot, seconds: int, since: int, upto: int, limit: int
) -> list[tuple[int, int]]:
    """The last block of each interval (0: every block), (number, timestamp), the newest `limit`."""
    b = t.blocks.c
    number: ColumnElement[int] = b.number
    timestamp: ColumnElement[int] = b.timestamp
    if seconds:
        number, timestamp = func.max(b.number), func.max(b.timestamp)
    columns: list[Any] = [number, timestamp]
    statement = select(*columns).where(b.canonical, b.number.between(since, upto))
    if seconds:
        statement = statement.group_by(b.timestamp // seconds)
    rows = await snapshot.read(statement.order_by(number.desc()).limit(limit))
    return [(row[0], row[1]) for row in reversed(rows)]


async def rollbacks(snapshot: Snapshot, limit: int) -> Sequence[Any]:
    """The newest reorgs."""
    r = t.rollbacks
    return await snapshot.read(select(r).order_by(r.c.id.desc()).limit(limit))


# -- markets ---------------------------------------------------------------------------------------

_base, _quote = t.tokens.alias("base_token"), t.tokens.alias("quote_token")


async def listings(snapshot: Snapshot, upto: int) -> list[Listing]:
    """All markets there were, oldest first."""
    m = t.markets
    statement = (
        select(*m.c, *_base.c, *_quote.c)
        .select_from(
            m.join(_base, _base.c.address == m.c.base).join(_quote, _quote.c.address == m.c.quote)
        )
        .where(m.c.created_block <= upto)
        .order_by(m.c.created_block, m.c.created_log_index)
    )
    names = [field.name for field in msgspec.structs.fields(Market)]
    keys, width, token = m.c.keys(), len(m.c), len(_base.c)
    found = []
    for row in map(tuple, await snapshot.read(statement)):
        values = dict(zip(keys, row[:width], strict=True))
        found.append(
            Listing(
                Market(**{name: values[name] for name in names}),
                Token(*row[width : width + token]),
                Token(*row[width + token :]),
            )
        )
    return found


async def levels_at(
    snapshot: Snapshot, market: Address, upto: int
) -> dict[Side, list[tuple[int, int]]]:
    """A market's book at the end of a block, best first."""
    lc = t.level_changes.c
    newest = (
        select(lc.side, lc.price, lc.quantity)
        .where(lc.market == market, lc.block_number <= upto)
        .ext(distinct_on(lc.side, lc.price))
        .order_by(lc.side, lc.price, lc.block_number.desc())
    )
    book = BookState(market, 1)
    for side, price, quantity in map(tuple, await snapshot.read(newest)):
        book.set(side, price, quantity)
    return {"buy": book.levels("buy"), "sell": book.levels("sell")}


async def tops(snapshot: Snapshot, listing: Listing, upto: int) -> list[TopRow]:
    """A market's book block by block, from its first.

    From the rows kept while they stand where the writer stands, else folded from level changes:
    the same rows, only later.
    """
    kept = await kept_tops(snapshot, listing.market.address, upto)
    if kept is not None:
        return kept
    lc, b = t.level_changes.c, t.blocks.c
    statement = (
        select(lc.block_number, b.timestamp, lc.side, lc.price, lc.quantity)
        .join(t.blocks, (b.number == lc.block_number) & b.canonical)
        .where(lc.market == listing.market.address, lc.block_number <= upto)
        .order_by(lc.block_number)
        .limit(MAX_TOPS + 1)
    )
    rows = await snapshot.read(statement)
    _require_few(rows, MAX_TOPS, "symbol")
    book = BookState(listing.market.address, listing.base.unit)
    return list(fold_levels(book, (LevelRow(*tuple(row)) for row in rows)))


async def kept_tops(snapshot: Snapshot, market: Address, upto: int) -> list[TopRow] | None:
    """The rows of analytics_tops; None where messages of this market are not in them yet."""
    a, c, ch = k.analytics_cursor.c, t.cursors.c, t.channels.c
    newest = select(ch.seq).where(ch.channel == f"depth:{market}").scalar_subquery()
    level = select(a.seq >= func.coalesce(newest, 0)).where(a.epoch == c.epoch, c.live)
    rows = await snapshot.read(level.select_from(k.analytics_cursor.join(t.cursors, true())))
    if not rows or not rows[0][0]:
        return None
    tops = k.analytics_tops
    statement = select(tops).where(tops.c.market == market, tops.c.block_number <= upto)
    found = await snapshot.read(statement.order_by(tops.c.block_number).limit(MAX_TOPS + 1))
    _require_few(found, MAX_TOPS, "symbol")
    return [TopRow(*tuple(row)) for row in found]


# -- trades ----------------------------------------------------------------------------------------

_TRADE_FIELDS = [field.name for field in msgspec.structs.fields(Trade)]


def _trade_columns() -> list[Any]:
    return [t.trades.c[name] for name in _TRADE_FIELDS]


async def market_trades(
    snapshot: Snapshot, market: Address | None, since: int, upto: int
) -> list[Trade]:
    """Trades with `timestamp > since` up to a block, oldest first."""
    tr = t.trades.c
    statement = select(*_trade_columns()).where(tr.timestamp > since, tr.block_number <= upto)
    if market is not None:
        statement = statement.where(tr.market == market)
    statement = statement.order_by(tr.block_number, tr.log_index).limit(MAX_ENTRIES + 1)
    rows = await snapshot.read(statement)
    _require_few(rows, MAX_ENTRIES, "period")
    return [Trade(*tuple(row)) for row in rows]


async def last_prices(snapshot: Snapshot, market: Address, upto: int) -> Sequence[tuple[int, int]]:
    """The last traded price of each block that traded, oldest first."""
    tr = t.trades.c
    statement = (
        select(tr.block_number, tr.price)
        .where(tr.market == market, tr.block_number <= upto)
        .ext(distinct_on(tr.block_number))
        .order_by(tr.block_number, tr.log_index.desc())
        .limit(MAX_TOPS + 1)
    )
    rows = await snapshot.read(statement)
    _require_few(rows, MAX_TOPS, "quote")
    return [(row.block_number, row.price) for row in rows]


# -- accounts --------------------------------------------------------------------------------------


async def account_trades(snapshot: Snapshot, account: Address, upto: int) -> list[Trade]:
    """Trades an account made or took, oldest first; one with itself once."""
    tr = t.trades.c

    def role(column: Any) -> Select[Any]:
        return select(*_trade_columns()).where(column == account, tr.block_number <= upto)

    both = union(role(tr.maker), role(tr.taker)).subquery("both")
    statement = select(both).order_by(both.c.block_number, both.c.log_index)
    rows = await snapshot.read(statement.limit(MAX_ENTRIES + 1))
    _require_few(rows, MAX_ENTRIES, "address")
    return [Trade(*tuple(row)) for row in rows]


async def account_balances(snapshot: Snapshot, account: Address, upto: int) -> list[BalanceRow]:
    """Every balance of an account after each block that touched it, oldest first."""
    bc, b = t.balance_changes.c, t.blocks.c
    statement = (
        select(
            bc.block_number,
            bc.log_index,
            b.timestamp,
            bc.token,
            bc.available,
            bc.locked,
            bc.deposited,
            bc.withdrawn,
        )
        .join(t.blocks, (b.number == bc.block_number) & b.canonical)
        .where(bc.account == account, bc.block_number <= upto)
        .order_by(bc.block_number, bc.log_index)
        .limit(MAX_ENTRIES + 1)
    )
    rows = await snapshot.read(statement)
    _require_few(rows, MAX_ENTRIES, "address")
    return [BalanceRow(*tuple(row)) for row in rows]


async def all_balances(snapshot: Snapshot, upto: int) -> dict[Address, list[BalanceRow]]:
    """The same of every account, by account."""
    bc, b = t.balance_changes.c, t.blocks.c
    columns = [bc.token, bc.available, bc.locked, bc.deposited, bc.withdrawn]
    statement = (
        select(bc.account, bc.block_number, bc.log_index, b.timestamp, *columns)
        .join(t.blocks, (b.number == bc.block_number) & b.canonical)
        .where(bc.block_number <= upto)
        .order_by(bc.block_number, bc.log_index)
        .limit(MAX_ENTRIES + 1)
    )
    rows = await snapshot.read(statement)
    _require_few(rows, MAX_ENTRIES, "type")
    found: dict[Address, list[BalanceRow]] = {}
    for account, *rest in map(tuple, rows):
        found.setdefault(account, []).append(BalanceRow(*rest))
    return found


async def tokens(snapshot: Snapshot, addresses: Collection[Address]) -> dict[Address, Token]:
    rows = await snapshot.read(select(t.tokens).where(t.tokens.c.address.in_(addresses)))
    return {row.address: Token(*tuple(row)) for row in rows}


async def account_orders(
    snapshot: Snapshot,
    account: Address,
    upto: int,
    statuses: Collection[str] | None,
    after: tuple[int, int] | None,
    limit: int,
) -> Sequence[Any]:
    """Orders as they were at the end of a block, newest first by where they were placed."""
    o, oc = t.orders.c, t.order_changes.c
    then = (
        select(oc.status, oc.filled, oc.quote_filled)
        .where(oc.market == o.market, oc.order_id == o.order_id, oc.block_number <= upto)
        .order_by(oc.block_number.desc(), oc.ordinal.desc())
        .limit(1)
        .lateral("then")
    )
    statement = (
        select(
            o.market,
            o.order_id,
            o.side,
            o.type,
            o.time_in_force,
            o.price,
            o.quantity,
            o.quantity_in_quote,
            o.expiry,
            o.placed_block,
            o.placed_log_index,
            o.placed_at,
            o.tx,
            then.c.status,
            then.c.filled,
            then.c.quote_filled,
        )
        .select_from(t.orders.join(then, then.c.status.is_not(None)))
        .where(o.account == account, o.placed_block <= upto)
    )
    if statuses is not None:
        statement = statement.where(o.type == "limit", then.c.status.in_(statuses))
    if after is not None:
        statement = statement.where(tuple_(o.placed_block, o.placed_log_index) < after)
    statement = statement.order_by(o.placed_block.desc(), o.placed_log_index.desc())
    return await snapshot.read(statement.limit(limit))


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


async def block_at(snapshot: Snapshot, timestamp: int, upto: int) -> int:
    """The newest block that is not later than a time; -1 before the first."""
    b = t.blocks.c
    newest = select(func.max(b.number)).where(
        b.canonical, b.number <= upto, b.timestamp <= timestamp
    )
    found = (await snapshot.read(newest))[0][0]
    return -1 if found is None else int(found)


async def maker_uptime(
    snapshot: Snapshot, market: Address, since: int, at: AsOf
) -> dict[Address, Fraction]:
    """The part of the period's blocks at whose end an account rested on both sides."""
    o, oc = t.orders.c, t.order_changes.c
    statement = (
        select(o.account, o.side, o.order_id, oc.block_number, oc.status)
        .join(t.orders, (o.market == oc.market) & (o.order_id == oc.order_id))
        .where(oc.market == market, oc.block_number <= at.number, o.type == "limit")
        .order_by(oc.block_number, oc.ordinal)
        .limit(MAX_ENTRIES + 1)
    )
    rows = await snapshot.read(statement)
    _require_few(rows, MAX_ENTRIES, "symbol")
    first = await block_at(snapshot, since, at.number) + 1
    if rows:
        first = max(first, rows[0].block_number)
    return uptime([tuple(row) for row in rows], first, at.number)


def _require_few(rows: Sequence[Any], limit: int, field: str) -> None:
    if len(rows) > limit:
        raise BadInput(field, f"something of at most {limit} stored changes", "more")


def find_symbol(found: Sequence[Listing], field: str, symbol: str) -> Listing:
    """The market a person means: the exact symbol, else whatever the case and dash. Or NotFound."""
    plain = symbol.lower().replace("-", "")
    exact = [one for one in found if one.market.symbol == symbol]
    like = [one for one in found if one.market.symbol.lower().replace("-", "") == plain]
    for one in exact + like:
        return one
    raise NotFound(field, "the symbol of a market, such as WETH-USDC", symbol)


def find_token(found: Sequence[Listing], field: str, text: str | None) -> Token:
    """A token by symbol or address; None: the quote token of the oldest market."""
    known = [token for one in found for token in (one.quote, one.base)]
    if text is None and known:
        return known[0]
    wanted = (text or "").lower()
    for token in known:
        if wanted in (token.address, token.symbol.lower()):
            return token
    raise NotFound(field, "a token that some market trades, by symbol or address", text)
