"""SQL about the chain itself: blocks, and the rollbacks that took some of them back."""

from dataclasses import dataclass

from sqlalchemy import and_, cast, extract, select
from sqlalchemy.types import BigInteger

from indexer.domain.block import Finality
from indexer.domain.units import Hash
from indexer.store import relations as t
from indexer.store.snapshot import Snapshot


@dataclass(frozen=True)
class Header:
    """A stored block; `canonical` is False once it was retracted."""

    number: int
    hash: Hash
    parent_hash: Hash
    timestamp: int
    finality: Finality
    canonical: bool


@dataclass(frozen=True)
class Rollback:
    """`depth` blocks above the ancestor were taken back, the newest of them `head`."""

    id: int
    ancestor_number: int
    ancestor_hash: Hash
    ancestor_time: int | None
    head_number: int
    head_hash: Hash
    depth: int
    recorded_at: int


_b = t.blocks.c
_HEADER = (_b.number, _b.hash, _b.parent_hash, _b.timestamp, _b.finality, _b.canonical)


async def headers(snapshot: Snapshot, *, before: int | None, limit: int) -> list[Header]:
    """Canonical blocks, newest first, below number `before`."""
    statement = select(*_HEADER).where(_b.canonical).order_by(_b.number.desc()).limit(limit)
    if before is not None:
        statement = statement.where(_b.number < before)
    return [Header(*tuple(row)) for row in await snapshot.read(statement)]


async def header_by_number(snapshot: Snapshot, number: int) -> Header | None:
    """The canonical block of a number."""
    rows = await snapshot.read(select(*_HEADER).where(_b.canonical, _b.number == number))
    return Header(*tuple(rows[0])) if rows else None


async def header_by_hash(snapshot: Snapshot, block_hash: str) -> Header | None:
    """The block of a hash, canonical or not."""
    rows = await snapshot.read(select(*_HEADER).where(_b.hash == block_hash))
    return Header(*tuple(rows[0])) if rows else None


async def tx_block(snapshot: Snapshot, tx: str, *, above: int) -> int | None:
    """The block, above a number, whose logs include some of this tx; by primary key range."""
    its = t.logs.c
    statement = select(its.block_number).where(its.block_number > above, its.txs.contains([tx]))
    statement = statement.limit(1)
    rows = await snapshot.read(statement)
    return rows[0].block_number if rows else None


async def rollbacks(
    snapshot: Snapshot,
    *,
    before: int | None = None,
    since: int | None = None,
    until: int | None = None,
    limit: int,
    at: int | None = None,
) -> list[Rollback]:
    """Rollbacks, newest first: below an id, with an ancestor of a time in `[since, until)`.

    Up to block `at` those that left nothing above it.
    """
    r = t.rollbacks.c
    recorded = cast(extract("epoch", r.recorded_at), BigInteger)
    statement = (
        select(
            r.id,
            r.ancestor_number,
            r.ancestor_hash,
            _b.timestamp,
            r.head_number,
            r.head_hash,
            r.depth,
            recorded,
        )
        .select_from(t.rollbacks.outerjoin(t.blocks, and_(_b.hash == r.ancestor_hash)))
        .order_by(r.id.desc())
        .limit(limit)
    )
    if before is not None:
        statement = statement.where(r.id < before)
    if at is not None:
        statement = statement.where(r.ancestor_number <= at)
    if since is not None:
        statement = statement.where(_b.timestamp >= since)
    if until is not None:
        statement = statement.where(_b.timestamp < until)
    return [Rollback(*tuple(row)) for row in await snapshot.read(statement)]
