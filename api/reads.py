"""Every SQL statement of the API: one function each, named after its answer.

All run in a request's Snapshot. Lists are keyset-paginated by origin (block number, log index),
newest first: a page stays where it is while new blocks come in above it.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Integer, Select, bindparam, func, select, true, tuple_, union

from api.arguments import Cursor
from indexer.domain.balance import Balance
from indexer.domain.listing import Listing
from indexer.domain.market import Token
from indexer.domain.order import Order, Side, Trade
from indexer.domain.units import Address, Hash
from indexer.store import relations as t
from indexer.store.listings import listing_of, select_listings
from indexer.store.queries import Query, Shaped, one_of
from indexer.store.snapshot import Snapshot


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


_c, _b = t.cursors.c, t.blocks.c
_PLACE = (
    *(_c.chain_id, _c.epoch, _c.seq, _c.block_number, _c.block_hash, _b.timestamp),
    *(_c.head_number, _c.finalized_number, _c.safe_number),
)
_HERE = t.cursors.outerjoin(t.blocks, _b.hash == _c.block_hash)
_POSITION = Query(select(*_PLACE).select_from(_HERE))


async def position(snapshot: Snapshot) -> Position | None:
    """The cursor and its block; None where no writer has begun. One row by primary keys.

    Read once in a snapshot, and not at all where another statement has brought it along.
    """
    if snapshot.position is None:
        rows = await snapshot.read(_POSITION)
        snapshot.position = tuple(rows[0]) if rows else None
    return None if snapshot.position is None else Position(*snapshot.position)


async def newest_position(snapshot: Snapshot) -> Position | None:
    """The same at this moment, which the snapshot, if it is opened at all, may find passed."""
    rows = await snapshot.glance(_POSITION)
    return Position(*rows[0]) if rows else None


# -- markets and tokens ----------------------------------------------------------------------------


async def _read_listings(snapshot: Snapshot, statement: Select[Any]) -> list[Listing]:
    return [listing_of(row) for row in await snapshot.read(statement)]


async def listings(snapshot: Snapshot, limit: int | None) -> list[Listing]:
    """All markets, oldest first."""
    return await _read_listings(snapshot, select_listings().limit(limit))


async def listings_by_address(
    snapshot: Snapshot, addresses: Collection[Address]
) -> dict[Address, Listing]:
    """The markets of these addresses; those that do not exist are left out.

    Nearly every request reads these, and its position: so one statement brings both.
    """
    rows = await snapshot.read(_LISTINGS_BY_ADDRESS, {"addresses": list(addresses)})
    if rows:
        snapshot.position = tuple(rows[0])[-len(_PLACE) :]
    return {one.market.address: one for one in map(listing_of, rows)}


_LISTINGS_BY_ADDRESS = Query(
    select_listings()
    .add_columns(*_PLACE)
    .join(_HERE, true())
    .where(one_of(t.markets.c.address, "addresses"))
)


async def listing_by_symbol(snapshot: Snapshot, symbol: str) -> Listing | None:
    """The market a person means: the exact symbol if there is one, else whatever the case and dash.

    Reads the whole table: there are as many markets as contracts, not as many as rows.
    """
    plain = symbol.lower().replace("-", "")
    rows = await snapshot.read(_LISTING_BY_SYMBOL, {"symbol": symbol, "plain": plain})
    return listing_of(rows[0]) if rows else None


def _select_listing_by_symbol() -> Select[Any]:
    m = t.markets.c
    return (
        select_listings()
        .where(func.lower(func.replace(m.symbol, "-", "")) == bindparam("plain"))
        .order_by(None)
        .order_by(m.symbol != bindparam("symbol"), m.created_block, m.created_log_index)
        .limit(1)
    )


_LISTING_BY_SYMBOL = Query(_select_listing_by_symbol())


async def tokens_by_address(
    snapshot: Snapshot, addresses: Collection[Address]
) -> dict[Address, Token]:
    """The tokens of these addresses; those we never met are left out."""
    rows = await snapshot.read(_TOKENS_BY_ADDRESS, {"addresses": list(addresses)})
    return {row.address: Token(**row) for row in rows}


_TOKENS_BY_ADDRESS = Query(select(t.tokens).where(one_of(t.tokens.c.address, "addresses")))


# -- orders, trades, balances ----------------------------------------------------------------------

_AFTER = tuple_(bindparam("after_block", type_=BigInteger), bindparam("after_log", type_=Integer))
"""The origin behind which a page begins."""


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
    query, values = _ORDERS(
        market=market,
        account=account,
        statuses=None if statuses is None else list(statuses),
        side=side,
        after_block=after and after.block_number,
        after_log=after and after.log_index,
        limit=limit,
    )
    return [Order(*row) for row in await snapshot.read(query, values)]


def _select_orders(given: Collection[str]) -> Select[Any]:
    o = t.orders.c
    filters = {
        "market": o.market == bindparam("market"),
        "account": o.account == bindparam("account"),
        "statuses": one_of(o.status, "statuses"),
        "side": o.side == bindparam("side"),
        "after_block": tuple_(o.placed_block, o.placed_log_index) < _AFTER,
    }
    return (
        select(*(o[name] for name in Order.__struct_fields__))
        .where(*(filters[name] for name in filters if name in given))
        .order_by(o.placed_block.desc(), o.placed_log_index.desc())
        .limit(bindparam("limit"))
    )


_ORDERS = Shaped(_select_orders)


async def trades(
    snapshot: Snapshot,
    *,
    market: Address | None,
    account: Address | None,
    after: Cursor | None,
    limit: int,
    at: int | None = None,
) -> list[Trade]:
    """Trades up to block `at`, newest first; an account's are those it made and those it took."""
    query, values = _TRADES(
        market=market,
        account=account,
        after_block=after and after.block_number,
        after_log=after and after.log_index,
        at=at,
        limit=limit,
    )
    return [Trade(*row) for row in await snapshot.read(query, values)]


def _select_trades(given: Collection[str]) -> Select[Any]:
    """Each role has its own index, so an account's trades are the union of two index scans.

    Each scan is of at most `limit` rows (`or` would walk the whole table for an account that trades
    rarely). A trade with oneself is in both and comes out once.
    """

    def page(of: Any, *conditions: Any) -> Select[Any]:
        c = of.c
        filters = {
            "market": c.market == bindparam("market"),
            "at": c.block_number <= bindparam("at"),
            "after_block": tuple_(c.block_number, c.log_index) < _AFTER,
        }
        return (
            select(*(c[name] for name in Trade.__struct_fields__))
            .where(*conditions, *(filters[name] for name in filters if name in given))
            .order_by(c.block_number.desc(), c.log_index.desc())
            .limit(bindparam("limit"))
        )

    if "account" not in given:
        return page(t.trades)
    c = t.trades.c
    roles = [page(t.trades, role == bindparam("account")).subquery() for role in (c.maker, c.taker)]
    both = union(*(select(role) for role in roles)).subquery("both")
    newest = (both.c.block_number.desc(), both.c.log_index.desc())
    return select(both).order_by(*newest).limit(bindparam("limit"))


_TRADES = Shaped(_select_trades)


async def balances(
    snapshot: Snapshot, *, account: Address, token: Address | None, limit: int
) -> list[Balance]:
    """One account's balances by token: a range of the primary key."""
    query, values = _BALANCES(account=account, token=token, limit=limit)
    return [Balance(*row) for row in await snapshot.read(query, values)]


def _select_balances(given: Collection[str]) -> Select[Any]:
    b = t.balances.c
    statement = select(*(b[name] for name in Balance.__struct_fields__))
    statement = statement.where(b.account == bindparam("account"))
    if "token" in given:
        statement = statement.where(b.token == bindparam("token"))
    return statement.order_by(b.token).limit(bindparam("limit"))


_BALANCES = Shaped(_select_balances)


# -- the book --------------------------------------------------------------------------------------


async def channel_seq(snapshot: Snapshot, channel: str) -> int:
    """The seq of a channel's newest message (0: none yet): what a live feed continues from."""
    rows = await snapshot.read(_CHANNEL_SEQ, {"channel": channel})
    return rows[0].seq if rows else 0


_CHANNEL_SEQ = Query(select(t.channels.c.seq).where(t.channels.c.channel == bindparam("channel")))
