"""SQL about the past: state at a block out of the changes, at a cost that hardly knows the chain.

Every answer takes the newest change at or below the block for each record it returns: one probe of
an index each, however long the chain or the record's own history is. A book also passes the prices
at which nothing stood then, before and between those it returns: so many probes more.
"""

from typing import Any

from sqlalchemy import bindparam, func, select, text, true

from indexer.domain.balance import Balance
from indexer.domain.order import Level, Side
from indexer.domain.units import Address
from indexer.store import tables as t
from indexer.store.columns import Hex
from indexer.store.snapshot import Snapshot

_LEVELS = """
with recursive prices as (
  (select price from tidebook.level_changes
    where market = {market} and side = '{side}' order by price {order} limit 1)
  union all
  select (select c.price from tidebook.level_changes c
           where c.market = {market} and c.side = '{side}' and c.price {beyond} prices.price
           order by c.price {order} limit 1)
    from prices where prices.price is not null
)
select prices.price, state.quantity, state.order_count, state.block_number, state.log_index
  from prices cross join lateral (
    select quantity, order_count, block_number, log_index from tidebook.level_changes c
     where c.market = {market} and c.side = '{side}' and c.price = prices.price
       and c.block_number <= :at order by c.block_number desc limit 1
  ) state
 where state.quantity > 0 limit {rows}
"""


def levels_text(side: Side, market: str = ":market", rows: str = ":rows") -> str:
    """A past side of a book, best first: from price to price by the primary key, then its state."""
    order, beyond = ("desc", "<") if side == "buy" else ("asc", ">")
    return _LEVELS.format(side=side, order=order, beyond=beyond, market=market, rows=rows)


def levels_statement(market: Address, side: Side, at: int, limit: int) -> Any:
    """`levels_text` with its values."""
    c = t.level_changes.c
    return (
        text(levels_text(side))
        .bindparams(
            bindparam("market", market, Hex()),
            at=at,
            rows=limit,
        )
        .columns(c.price, c.quantity, c.order_count, c.block_number, c.log_index)
    )


async def levels_at(
    snapshot: Snapshot, market: Address, side: Side, at: int, limit: int
) -> list[Level]:
    """The levels of one side after block `at`, best first."""
    return [
        Level(
            market,
            side,
            row.price,
            quantity=row.quantity,
            order_count=row.order_count,
            updated_block=row.block_number,
            updated_log_index=row.log_index,
        )
        for row in await snapshot.read(levels_statement(market, side, at, limit))
    ]


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
