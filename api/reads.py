"""Every SQL statement of the API: one function each, named after its answer.

All run in a request's Snapshot. Lists are keyset-paginated by origin (block number, log index),
newest first: a page stays where it is while new blocks come in above it.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, select, tuple_, union

from api.arguments import Cursor
from indexer.domain.balance import Balance
from indexer.domain.listing import Listing
from indexer.domain.market import Token
from indexer.domain.order import Level, Order, Side, Trade
from indexer.domain.units import Address, Hash
from indexer.store import tables as t
from indexer.store.listings import listing_of, select_listings
from indexer.store.snapshot import Query, Snapshot


@dataclass(frozen=True)
class Position:
    """Where the writer stands. `block` fields are None before the first block."""

    chain_id: int
    epoch: str
    seq: int
    number: int | None
    hash: Hash | None
    timestamp: int | None
    head: int | None
    finalized: int | None
    safe: int | None


# -- the chain -------------------------------------------------------------------------------------


def _select_position() -> Select[Any]:
    c, b = t.cursors.c, t.blocks.c
    return select(
        c.chain_id,
        c.epoch,
        c.seq,
        c.block_number,
        c.block_hash,
        b.timestamp,
        c.head_number,
        c.finalized_number,
        c.safe_number,
    ).select_from(t.cursors.outerjoin(t.blocks, b.hash == c.block_hash))


_POSITION = Query(_select_position())


async def position(snapshot: Snapshot) -> Position | None:
    """The cursor and its block; None where no writer has begun. One row by primary keys."""
    rows = await snapshot.read(_POSITION)
    return Position(*tuple(rows[0])) if rows else None


# -- markets and tokens ----------------------------------------------------------------------------


async def _read_listings(snapshot: Snapshot, statement: Select[Any]) -> list[Listing]:
    return [listing_of(row) for row in await snapshot.read(statement)]


async def listings(snapshot: Snapshot, limit: int | None) -> list[Listing]:
    """All markets, oldest first."""
    return await _read_listings(snapshot, select_listings().limit(limit))


async def listings_by_address(
    snapshot: Snapshot, addresses: Collection[Address]
) -> dict[Address, Listing]:
    """The markets of these addresses; those that do not exist are left out."""
    statement = select_listings().where(t.markets.c.address.in_(addresses))
    return {one.market.address: one for one in await _read_listings(snapshot, statement)}


async def listing_by_symbol(snapshot: Snapshot, symbol: str) -> Listing | None:
    """The market a person means: the exact symbol if there is one, else whatever the case and dash.

    Reads the whole table: there are as many markets as contracts, not as many as rows.
    """
    m = t.markets.c
    plain = func.lower(func.replace(m.symbol, "-", ""))
    statement = (
        select_listings()
        .where(plain == symbol.lower().replace("-", ""))
        .order_by(None)
        .order_by((m.symbol != symbol), m.created_block, m.created_log_index)
        .limit(1)
    )
    found = await _read_listings(snapshot, statement)
    return found[0] if found else None


async def tokens_by_address(
    snapshot: Snapshot, addresses: Collection[Address]
) -> dict[Address, Token]:
    """The tokens of these addresses; those we never met are left out."""
    rows = await snapshot.read(select(t.tokens).where(t.tokens.c.address.in_(addresses)))
    return {row.address: Token(**row) for row in rows}


# -- orders, trades, balances ----------------------------------------------------------------------


async def orders(
    snapshot: Snapshot,
    *,
    market: Address | None,
    account: Address | None,
    statuses: Collection[str] | None,
    side: Side | None,
    after: Cursor | None,
    limit: int,
) -> list[Order]:
    """Orders, newest first by where they were placed."""
    o = t.orders.c
    statement = select(t.orders)
    if market is not None:
        statement = statement.where(o.market == market)
    if account is not None:
        statement = statement.where(o.account == account)
    if statuses is not None:
        statement = statement.where(o.status.in_(statuses))
    if side is not None:
        statement = statement.where(o.side == side)
    if after is not None:
        statement = statement.where(tuple_(o.placed_block, o.placed_log_index) < after)
    statement = statement.order_by(o.placed_block.desc(), o.placed_log_index.desc()).limit(limit)
    return [Order(**row) for row in await snapshot.read(statement)]


async def trades(
    snapshot: Snapshot,
    *,
    market: Address | None,
    account: Address | None,
    after: Cursor | None,
    limit: int,
    at: int | None = None,
) -> list[Trade]:
    """Trades up to block `at`, newest first; an account's are those it made and those it took.

    Each role has its own index, so an account's trades are the union of two index scans of at
    most `limit` rows (`or` would walk the whole table for an account that trades rarely). A trade
    with oneself is in both and comes out once.
    """

    def page(statement: Select[Any]) -> Select[Any]:
        c = statement.selected_columns
        if market is not None:
            statement = statement.where(c.market == market)
        if at is not None:
            statement = statement.where(c.block_number <= at)
        if after is not None:
            statement = statement.where(tuple_(c.block_number, c.log_index) < after)
        return statement.order_by(c.block_number.desc(), c.log_index.desc()).limit(limit)

    if account is None:
        statement = page(select(t.trades))
    else:
        made = page(select(t.trades).where(t.trades.c.maker == account)).subquery("made")
        took = page(select(t.trades).where(t.trades.c.taker == account)).subquery("took")
        both = union(select(made), select(took)).subquery("both")
        newest = (both.c.block_number.desc(), both.c.log_index.desc())
        statement = select(both).order_by(*newest).limit(limit)
    return [Trade(**row) for row in await snapshot.read(statement)]


async def balances(
    snapshot: Snapshot, *, account: Address, token: Address | None, limit: int
) -> list[Balance]:
    """One account's balances by token: a range of the primary key."""
    b = t.balances.c
    statement = select(t.balances).where(b.account == account).order_by(b.token).limit(limit)
    if token is not None:
        statement = statement.where(b.token == token)
    return [Balance(**row) for row in await snapshot.read(statement)]


# -- the book --------------------------------------------------------------------------------------


async def levels(snapshot: Snapshot, market: Address, side: Side, limit: int) -> list[Level]:
    """The levels a taker can reach, best first: the primary key read from its better end."""
    lv = t.levels.c
    best = lv.price.desc() if side == "buy" else lv.price.asc()
    statement = (
        select(t.levels)
        .where(lv.market == market, lv.side == side, lv.quantity > 0)
        .order_by(best)
        .limit(limit)
    )
    return [Level(**row) for row in await snapshot.read(statement)]


async def channel_seq(snapshot: Snapshot, channel: str) -> int:
    """The seq of a channel's newest message (0: none yet): what a live feed continues from."""
    rows = await snapshot.read(select(t.channels.c.seq).where(t.channels.c.channel == channel))
    return rows[0].seq if rows else 0
