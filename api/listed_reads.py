"""SQL about who and what there is: tokens of markets, accounts that ever held something."""

from collections.abc import Collection

from sqlalchemy import BigInteger, bindparam, exists, or_, select, text

from indexer.domain.balance import Balance
from indexer.domain.market import Token
from indexer.domain.units import Address
from indexer.store import relations as t
from indexer.store.queries import Query
from indexer.store.snapshot import Snapshot


async def tokens(
    snapshot: Snapshot, *, after: Address | None, limit: int, at: int | None
) -> list[Token]:
    """Tokens by address; up to block `at` those that a market traded by then."""
    c, m = t.tokens.c, t.markets.c
    statement = select(*(c[name] for name in Token.__struct_fields__)).order_by(c.address)
    if after is not None:
        statement = statement.where(c.address > after)
    if at is not None:
        traded = or_(m.base == c.address, m.quote == c.address)
        statement = statement.where(exists().where(traded, m.created_block <= at))
    return [Token(*row) for row in await snapshot.read(statement.limit(limit))]


async def accounts(
    snapshot: Snapshot, *, after: Address | None, limit: int, at: int | None
) -> list[Address]:
    """Accounts by address that held something by block `at`: the primary key read in its order."""
    b, c = t.balances.c, t.balance_changes.c
    statement = select(b.account).distinct().order_by(b.account).limit(limit)
    if after is not None:
        statement = statement.where(b.account > after)
    if at is not None:
        held = exists().where(c.account == b.account, c.token == b.token, c.block_number <= at)
        statement = statement.where(held)
    return [row[0] for row in await snapshot.read(statement)]


_HELD = """
select b.account, b.token, {columns}
  from unnest(cast(:accounts as bytea[])) as of(account) cross join lateral (
    select * from tidebook.balances b where b.account = of.account order by b.token limit :rows) b
"""
_BALANCES = Query(text(_HELD.format(columns="b.available, b.locked")).columns())
_BALANCES_AT = Query(
    text(
        _HELD.format(columns="c.available, c.locked")
        + """cross join lateral (
    select available, locked from tidebook.balance_changes c
     where c.account = b.account and c.token = b.token and c.block_number <= :at
     order by c.block_number desc limit 1) c"""
    )
    .bindparams(bindparam("at", type_=BigInteger))
    .columns()
)


async def balances_of(
    snapshot: Snapshot, accounts: Collection[Address], *, limit: int, at: int | None
) -> dict[Address, list[Balance]]:
    """Balances of many accounts after block `at`, at most `limit` of each. One statement."""
    values = {"accounts": list(accounts), "rows": limit, "at": at}
    found: dict[Address, list[Balance]] = {}
    for row in await snapshot.read(_BALANCES if at is None else _BALANCES_AT, values):
        account, token, available, locked = tuple(row)
        found.setdefault(account, []).append(Balance(account, token, available, locked))
    return found
