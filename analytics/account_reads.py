"""What an account's answers are made of: its trades, its balances and its orders."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import bindparam, select, tuple_, union_all
from sqlalchemy.dialects.postgresql import distinct_on

from analytics.journal import BalanceRow
from analytics.limits import MAX_ENTRIES
from analytics.reads import TRADE_COLUMNS, require_few
from indexer.domain.market import Token
from indexer.domain.order import Trade
from indexer.domain.units import Address
from indexer.store import relations as t
from indexer.store.columns import Hex
from indexer.store.queries import Query
from indexer.store.snapshot import Row, Snapshot


async def account_trades(
    snapshot: Snapshot, account: Address, behind: int, upto: int
) -> list[Trade]:
    """Trades an account made or took in the blocks behind one, oldest first; with itself once."""
    values = {"account": account, "behind": behind, "upto": upto}
    rows = await snapshot.read(_TRADES, values)
    require_few(rows, MAX_ENTRIES, "address")
    return [Trade(*row) for row in rows]


async def account_balances(
    snapshot: Snapshot, account: Address, behind: int, upto: int
) -> list[BalanceRow]:
    """Every balance of an account after each block that touched it, likewise."""
    values = {"account": account, "behind": behind, "upto": upto}
    rows = await snapshot.read(_BALANCES, values)
    require_few(rows, MAX_ENTRIES, "address")
    return [BalanceRow(*row) for row in rows]


_who = bindparam("account", type_=Hex)
_tr, _bc, _b = t.trades.c, t.balance_changes.c, t.blocks.c


def _inside(number: Any) -> Any:
    return (number > bindparam("behind")) & (number <= bindparam("upto"))


_both = union_all(
    select(*TRADE_COLUMNS).where(_tr.maker == _who, _inside(_tr.block_number)),
    select(*TRADE_COLUMNS).where(_tr.taker == _who, _tr.maker != _who, _inside(_tr.block_number)),
).subquery("both")
_TRADES = Query(
    select(_both).order_by(_both.c.block_number, _both.c.log_index).limit(MAX_ENTRIES + 1)
)
_BALANCE_COLUMNS = (
    *(_bc.block_number, _bc.log_index, _b.timestamp, _bc.token),
    *(_bc.available, _bc.locked, _bc.deposited, _bc.withdrawn),
)
_BALANCES = Query(
    select(*_BALANCE_COLUMNS)
    .join(t.blocks, (_b.number == _bc.block_number) & _b.canonical)
    .where(_bc.account == _who, _inside(_bc.block_number))
    .order_by(_bc.block_number, _bc.log_index, _bc.token)
    .limit(MAX_ENTRIES + 1)
)


async def all_balances(
    snapshot: Snapshot, behind: int, upto: int
) -> dict[Address, list[BalanceRow]]:
    """The same of every account, by account."""
    rows = await snapshot.read(_ALL_BALANCES, {"behind": behind, "upto": upto})
    require_few(rows, MAX_ENTRIES, "period")
    return _by_account(rows)


async def balances_at(snapshot: Snapshot, number: int) -> dict[Address, list[BalanceRow]]:
    """Every account's newest balance of each token at the end of a block, by account."""
    rows = await snapshot.read(_BALANCES_AT, {"upto": number})
    require_few(rows, MAX_ENTRIES, "period")
    return _by_account(rows)


def _by_account(rows: Iterable[Row]) -> dict[Address, list[BalanceRow]]:
    found: dict[Address, list[BalanceRow]] = {}
    for account, *rest in rows:
        found.setdefault(account, []).append(BalanceRow(*rest))
    return found


_FROM_BALANCES = select(_bc.account, *_BALANCE_COLUMNS).join(
    t.blocks, (_b.number == _bc.block_number) & _b.canonical
)
_ALL_BALANCES = Query(
    _FROM_BALANCES.where(_inside(_bc.block_number))
    .order_by(_bc.block_number, _bc.log_index, _bc.token)
    .limit(MAX_ENTRIES + 1)
)
_BALANCES_AT = Query(
    _FROM_BALANCES.where(_bc.block_number <= bindparam("upto"))
    .ext(distinct_on(_bc.account, _bc.token))
    .order_by(_bc.account, _bc.token, _bc.block_number.desc())
    .limit(MAX_ENTRIES + 1)
)


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
