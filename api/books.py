"""One market's book as a mirror, out of one snapshot: what a simulation runs on.

At the head the tables already are the state, so only one book's levels, the orders in its lists and
the balances of those who ask are read. The past is folded anew from the stored logs, up to a limit.
"""

import asyncio
from collections.abc import Collection

import msgspec
from sqlalchemy import func, select

from api import waiting
from api.errors import BadInput, Unavailable
from indexer.domain.balance import Balance
from indexer.domain.block import Block
from indexer.domain.change import Delta, Deltas
from indexer.domain.deployment import Deployment, parse_deployment
from indexer.domain.listing import Listing
from indexer.domain.market import Token
from indexer.domain.order import Level, Order
from indexer.domain.units import Address
from indexer.mirror.errors import FoldError
from indexer.mirror.fold import Mirror
from indexer.store import relations as t
from indexer.store.history import WholeBlock, fold, whole
from indexer.store.log_rows import PACKED
from indexer.store.snapshot import Snapshot

MAX_FOLDED_LOGS = 30_000
"""Logs that a question about a past block may fold: some two seconds' work."""

MAX_BOOK_ORDERS = 200_000
"""Orders of one book that a simulation loads."""

MAX_STRAY_ORDERS = 10_000
"""Orders that are in no list any more but named by one, read in one statement."""


async def book_at_head(
    snapshot: Snapshot, listing: Listing, accounts: Collection[Address]
) -> Mirror:
    """A mirror that holds one market at the head, and these accounts' balances."""
    deployment, head = await _position(snapshot)
    market = listing.market
    rows = await snapshot.read(select(t.levels).where(t.levels.c.market == market.address))
    levels = [Level(**row) for row in rows]
    orders = await _orders(snapshot, market.address, levels)
    owners = {*accounts, deployment.fee_receiver}
    of = t.balances.c
    rows = await snapshot.read(
        select(t.balances).where(of.account.in_(owners), of.token.in_({market.base, market.quote}))
    )
    mirror = Mirror(deployment, head)
    mirror.put(
        Deltas(
            tokens=tuple(Delta(None, token) for token in {listing.base, listing.quote}),
            markets=(Delta(None, market),),
            orders=tuple(Delta(None, order) for order in orders.values()),
            levels=tuple(Delta(None, level) for level in levels),
            balances=tuple(Delta(None, Balance(**row)) for row in rows),
        )
    )
    return mirror


async def book_at(snapshot: Snapshot, block: int) -> Mirror:
    """The whole mirror as it was after a past block. Raises BadInput if that is too long ago."""
    deployment, head = await _position(snapshot)
    b, its = t.blocks.c, t.logs.c
    oldest = (await snapshot.read(select(func.min(b.number)).where(b.canonical)))[0][0]
    if not oldest <= block <= head.number:
        raise BadInput("block", f"an indexed block ({oldest} to {head.number})", block)
    counts = select(func.cardinality(its.log_index).label("logs")).where(its.block_number <= block)
    some = counts.limit(MAX_FOLDED_LOGS + 1).subquery()
    if ((await snapshot.read(select(func.sum(some.c.logs))))[0][0] or 0) > MAX_FOLDED_LOGS:
        expected = f"a block with at most {MAX_FOLDED_LOGS} logs before it, or none for the head"
        raise BadInput("block", expected, block)
    rows = await snapshot.read(
        select(b.number, b.hash, b.parent_hash, b.timestamp, *(its[name] for name in PACKED))
        .select_from(t.blocks.outerjoin(t.logs, its.block_number == b.number))
        .where(b.canonical, b.number <= block)
        .order_by(b.number)
    )
    blocks = [whole(row) for row in rows]
    tokens = [Token(**row) for row in await snapshot.read(select(t.tokens))]
    return await asyncio.to_thread(_fold, deployment, blocks, tokens)


def _fold(deployment: Deployment, blocks: list[WholeBlock], tokens: list[Token]) -> Mirror:
    mirror = Mirror(deployment)
    try:
        for one in blocks:
            fold(mirror, one, tokens)
    except FoldError as error:
        raise Unavailable(f"the stored logs cannot be folded: {error}") from error
    return mirror


async def _position(snapshot: Snapshot) -> tuple[Deployment, Block]:
    c, b = t.cursors.c, t.blocks.c
    rows = await snapshot.read(
        select(c.deployment, b.number, b.hash, b.parent_hash, b.timestamp).select_from(
            t.cursors.join(t.blocks, b.hash == c.block_hash)
        )
    )
    if not rows:
        raise Unavailable("nothing is indexed yet")
    row = rows[0]
    deployment = parse_deployment(msgspec.json.encode(row.deployment))
    return deployment, Block(row.number, row.hash, row.parent_hash, row.timestamp)


async def _orders(snapshot: Snapshot, market: Address, levels: list[Level]) -> dict[int, Order]:
    """The orders in the book's lists, and whoever the contract's pointers still name.

    A sound list names nobody else, so that one statement is all; a spliced one is followed to its
    end, as a taker or a cancel would follow it.
    """
    o = t.orders.c
    statement = select(t.orders).where(o.market == market)
    rows = await snapshot.read(waiting.BOOK, {"market": market, "most": MAX_BOOK_ORDERS + 1})
    found = {row.order_id: Order(**row) for row in rows}
    named = {order_id for level in levels for order_id in (level.head, level.tail)}
    named |= {order_id for one in found.values() for order_id in (one.next, one.prev)}
    while wanted := named - found.keys() - {0}:
        if len(found) > MAX_BOOK_ORDERS or len(wanted) > MAX_STRAY_ORDERS:
            raise Unavailable("the book is too large to simulate on")
        rows = await snapshot.read(statement.where(o.order_id.in_(wanted)))
        new = {row.order_id: Order(**row) for row in rows}
        named = {order_id for one in new.values() for order_id in (one.next, one.prev)}
        found |= new
    return found
