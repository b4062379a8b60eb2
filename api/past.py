"""SQL about the past: state at a block out of the changes, at a cost that does not know the chain.

Every answer takes the newest change at or below the block for each record it returns: one probe of
an index each, however long the chain or the record's own history is. Books: `past_books`.
"""

from sqlalchemy import func, select, true

from indexer.domain.balance import Balance
from indexer.domain.units import Address
from indexer.store import relations as t
from indexer.store.snapshot import Snapshot


async def balances_at(
    snapshot: Snapshot, *, account: Address, token: Address | None, at: int, limit: int
) -> list[Balance]:
    """One account's balances after block `at`: the tokens it has, and each one's newest change."""
    held, c = t.balances.c, t.balance_changes.c
    state = (
        select(t.balance_changes)
        .where(c.account == held.account, c.token == held.token, c.block_number <= at)
        .order_by(c.block_number.desc())
        .limit(1)
        .lateral("state")
    )
    statement = (
        select(state)
        .select_from(t.balances.join(state, true()))
        .where(held.account == account)
        .order_by(held.token)
        .limit(limit)
    )
    if token is not None:
        statement = statement.where(held.token == token)
    return [
        Balance(
            row.account,
            row.token,
            row.available,
            row.locked,
            row.deposited,
            row.withdrawn,
            row.block_number,
            row.log_index,
        )
        for row in await snapshot.read(statement)
    ]


async def oldest_block(snapshot: Snapshot) -> int | None:
    """The first canonical block there is."""
    b = t.blocks.c
    rows = await snapshot.read(select(func.min(b.number)).where(b.canonical))
    oldest: int | None = rows[0][0]
    return oldest
