"""Where the contract and its rules disagree, as readers see it."""

from collections.abc import Collection

import msgspec
import strawberry
from sqlalchemy import func, select

from api.scalars import Long
from indexer.domain.units import Address
from indexer.store import relations as t
from indexer.store.snapshot import Snapshot


@strawberry.type(
    description="One disagreement between the chain and its rules (the chain wins), or between a "
    "getter and our state (kind `state`)."
)
class Divergence:
    cursor: str
    market: str = strawberry.field(
        description="The order book's address; the balance manager's where a balance differs."
    )
    block_number: Long
    log_index: int = strawberry.field(description="The log that shows it; -1 for kind `state`.")
    tx: str | None
    order_id: Long = strawberry.field(description="0 where it is about no order.")
    kind: str
    expected: str | None = strawberry.field(description="JSON; null if nothing was expected.")
    found: str | None = strawberry.field(description="JSON; null if nothing was found.")
    acknowledged: bool


async def read(
    snapshot: Snapshot,
    *,
    market: Address | None,
    acknowledged: bool | None,
    after: int | None,
    limit: int,
    at: int | None = None,
) -> list[Divergence]:
    """Divergences up to block `at`, newest first: the primary key read from its end."""
    d = t.divergences.c
    statement = select(t.divergences).order_by(d.id.desc()).limit(limit)
    if market is not None:
        statement = statement.where(d.market == market)
    if acknowledged is not None:
        statement = statement.where(d.acknowledged == acknowledged)
    if after is not None:
        statement = statement.where(d.id < after)
    if at is not None:
        statement = statement.where(d.block_number <= at)
    return [
        Divergence(
            cursor=str(row.id),
            market=row.market,
            block_number=Long(row.block_number),
            log_index=row.log_index,
            tx=row.tx if len(row.tx) > 2 else None,
            order_id=Long(row.order_id),
            kind=row.kind,
            expected=_text(row.expected),
            found=_text(row.found),
            acknowledged=row.acknowledged,
        )
        for row in await snapshot.read(statement)
    ]


def _text(value: object) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


async def count_open(snapshot: Snapshot, markets: Collection[Address]) -> dict[Address, int]:
    """How many divergences of each market nobody has acknowledged; markets without are left out."""
    d = t.divergences.c
    rows = await snapshot.read(
        select(d.market, func.count())
        .where(d.market.in_(markets), ~d.acknowledged)
        .group_by(d.market)
    )
    return {Address(market): number for market, number in map(tuple, rows)}
