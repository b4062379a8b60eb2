"""What an account did: its journal by pages, its orders, its fees, its curve and its risk."""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from analytics import account_reads, reads, text
from analytics import arguments as a
from analytics.account import (
    Account,
    at_ends,
    load_account,
    load_marks,
    moments,
    quote_token,
)
from analytics.endpoint import Answer, Ask, Endpoint
from analytics.errors import BadInput
from analytics.journal import Entry, Exchange, Flow
from analytics.limits import MAX_POINTS
from analytics.portfolio import EquityPoint, equity
from analytics.portfolio_answers import NO_GAS
from analytics.returns import (
    PERIODS_A_YEAR,
    calmar,
    deviation,
    max_drawdown,
    mean,
    period_returns,
    sharpe,
    sortino,
)
from indexer.domain.units import Address


async def history(ask: Ask) -> Answer:
    return _page(ask, await load_account(ask), lambda entry: True)


async def fills(ask: Ask) -> Answer:
    return _page(ask, await load_account(ask), lambda entry: isinstance(entry, Exchange))


async def transfers(ask: Ask) -> Answer:
    account = await load_account(ask)
    answer = _page(ask, account, lambda entry: isinstance(entry, Flow))
    net: dict[Address, int] = {}
    for entry in account.entries:
        if isinstance(entry, Flow):
            net[entry.token] = net.get(entry.token, 0) + entry.amount
    answer["net_transfers"] = {
        account.tokens[token].symbol: text.amount(amount, account.tokens[token].decimals)
        for token, amount in sorted(net.items())
    }
    return answer


def _page(ask: Ask, account: Account, wanted: Callable[[Entry], bool]) -> Answer:
    """Entries newest first. A place in the journal is (block, ordinal in the block)."""
    symbols = {one.market.address: one.market.symbol for one in ask.listings}
    ordinal, block, places = 0, -1, []
    for entry in account.entries:
        ordinal = ordinal + 1 if entry.origin.block_number == block else 0
        block = entry.origin.block_number
        if wanted(entry) and (ask["after"] is None or (block, ordinal) < ask["after"]):
            places.append(((block, ordinal), entry))
    places.reverse()
    page = places[: ask["limit"]]
    more = len(places) > len(page)
    return {
        "account": account.address,
        "entries": [_entry(account, entry, symbols) for _, entry in page],
        "next": "-".join(map(str, page[-1][0])) if more else None,
    }


def _entry(account: Account, entry: Entry, symbols: dict[Address, str]) -> dict[str, Any]:
    where = {
        "block": entry.origin.block_number,
        "log_index": entry.origin.log_index,
        "timestamp": entry.timestamp,
    }
    match entry:
        case Flow():
            token = account.tokens[entry.token]
            amount = text.amount(entry.amount, token.decimals)
            return {**where, "kind": entry.kind, "token": token.symbol, "amount": amount}
        case Exchange():
            paid, got = account.tokens[entry.paid_token], account.tokens[entry.got_token]
            base, quote = (got, paid) if entry.side == "buy" else (paid, got)
            return {
                **where,
                "kind": "fill",
                "symbol": symbols[entry.trade.market],
                "side": entry.side,
                "role": entry.role,
                "price": text.amount(entry.trade.price, quote.decimals),
                "quantity": text.amount(entry.trade.quantity, base.decimals),
                "quote_amount": text.amount(entry.trade.quote_amount, quote.decimals),
                "fee": text.amount(entry.fee, got.decimals),
                "fee_token": got.symbol,
                "tx": entry.trade.tx,
            }


async def orders(ask: Ask) -> Answer:
    statuses = ("open", "partially_filled") if ask["status"] == "open" else None
    found = {one.market.address: one for one in ask.listings}
    rows = await account_reads.account_orders(
        ask.snapshot, ask["address"], ask.at.number, statuses, ask["after"], ask["limit"] + 1
    )
    page = rows[: ask["limit"]]
    more = len(rows) > len(page)
    told = []
    for row in page:
        one = found[row.market]
        decimals = one.quote.decimals if row.quantity_in_quote else one.base.decimals
        told.append(
            {
                "symbol": one.market.symbol,
                "order_id": row.order_id,
                "side": row.side,
                "type": row.type,
                "time_in_force": row.time_in_force,
                "price": text.amount(row.price, one.quote.decimals),
                "quantity": text.amount(row.quantity, decimals),
                "filled": text.amount(row.filled, one.base.decimals),
                "quote_filled": text.amount(row.quote_filled, one.quote.decimals),
                "status": row.status,
                "placed_block": row.placed_block,
                "placed_at": row.placed_at,
                "tx": row.tx,
            }
        )
    last = page[-1] if more else None
    return {
        "account": ask["address"],
        "orders": told,
        "next": f"{last.placed_block}-{last.placed_log_index}" if last else None,
    }


async def fees(ask: Ask) -> Answer:
    account = await load_account(ask)
    sums: dict[tuple[str, Address], list[int]] = {}
    for entry in account.entries:
        if isinstance(entry, Exchange):
            one = sums.setdefault((entry.role, entry.got_token), [0, 0, 0])
            one[0] += entry.fee or 0
            one[1] += 1
            one[2] += entry.fee is None
    rows = [
        {
            "role": role,
            "token": account.tokens[token].symbol,
            "address": token,
            "amount": None if unknown else text.amount(total, account.tokens[token].decimals),
            "fills": count,
            "reason": f"the chain told no fee of {unknown} fills" if unknown else None,
        }
        for (role, token), (total, count, unknown) in sorted(sums.items())
    ]
    return {"account": account.address, "fees": rows, "gas": None, "gas_reason": NO_GAS}


async def curve(ask: Ask, account: Account, limit: int = MAX_POINTS) -> list[EquityPoint]:
    """The account's equity at the end of each interval since its first entry."""
    if not account.entries:
        return []
    seconds = a.INTERVALS[ask["interval"]]
    blocks = await reads.block_ends(ask.snapshot, seconds, account.since, ask.at.number, limit + 1)
    if len(blocks) > limit and limit == MAX_POINTS:
        raise BadInput("interval", f"at most {MAX_POINTS} points", ask["interval"])
    needed = chain(moments(account.entries), at_ends(account.entries, [one for one, _ in blocks]))
    marks = await load_marks(ask, quote_token(ask), needed)
    return equity(account.entries, marks, blocks)[-limit:]


async def equity_curve(ask: Ask) -> Answer:
    account, quote = await load_account(ask), quote_token(ask)
    points = await curve(ask, account, ask["limit"])
    rows = [
        {
            "block": one.block_number,
            "timestamp": one.timestamp,
            "value": text.amount(one.value, quote.decimals),
            "flow": text.amount(one.flow, quote.decimals),
            "reason": "a token without a rate was held" if one.value is None else None,
        }
        for one in points
    ]
    return {
        "account": account.address,
        "quote": {"symbol": quote.symbol, "address": quote.address, "decimals": quote.decimals},
        "interval": ask["interval"],
        "equity": rows,
    }


async def risk(ask: Ask) -> Answer:
    account = await load_account(ask)
    curve_ = await curve(ask, account)
    points = [point for one in curve_ if (point := one.point()) is not None]
    whole = len(points) == len(curve_)
    exact = period_returns(points) if whole else []
    returns = [float(one) for one in exact]
    periods = PERIODS_A_YEAR[ask["interval"]]
    by_fall = calmar(points) if whole else None
    return {
        "account": account.address,
        "interval": ask["interval"],
        "observations": len(returns),
        "mean_return": mean(returns),
        "deviation": deviation(returns),
        "sharpe": sharpe(returns),
        "sharpe_annual": sharpe(returns, periods),
        "sortino": sortino(returns),
        "sortino_annual": sortino(returns, periods),
        "max_drawdown": max_drawdown(returns),
        "calmar": by_fall,
        "calmar_reason": None if by_fall is not None else NO_CALMAR,
        "reason": _risk_reason(returns, whole),
    }


NO_CALMAR = "nothing was lost from a peak, or no value is known, or a year of it is beyond numbers"


def _risk_reason(returns: Sequence[float], whole: bool) -> str | None:
    if not whole:
        return "a token was held that no market led from to the quote token"
    if len(returns) < 2:
        return f"{len(returns)} returns are too few for a deviation"
    if not deviation(returns):
        return "the returns do not deviate"
    return "no return fell short" if sortino(returns) is None else None


_PAGE = (a.ADDRESS, a.LIMIT, a.AFTER)
_RISK_INTERVAL = a.one_of("interval", "Between two returns.", "day", "hour", "day")
ENDPOINTS = (
    Endpoint(
        "/api/portfolio/{address}/history",
        "Everything that moved its funds, newest first",
        _PAGE,
        history,
        "entries",
    ),
    Endpoint("/api/portfolio/{address}/fills", "Its trades", _PAGE, fills, "entries"),
    Endpoint(
        "/api/portfolio/{address}/transfers",
        "Deposits, withdrawals and transfers: flows, never profit",
        _PAGE,
        transfers,
        "entries",
    ),
    Endpoint(
        "/api/portfolio/{address}/orders",
        "Its orders as they were at the block",
        (*_PAGE, a.STATUS),
        orders,
        "orders",
    ),
    Endpoint("/api/portfolio/{address}/fees", "Fees by role", (a.ADDRESS,), fees, "fees"),
    Endpoint(
        "/api/portfolio/{address}/equity",
        "Its value at the end of each block, hour or day: the newest `limit`",
        (a.ADDRESS, a.QUOTE, a.INTERVAL, a.LIMIT),
        equity_curve,
        "equity",
    ),
    Endpoint(
        "/api/portfolio/{address}/risk",
        "Sharpe, Sortino, drawdown of its returns",
        (a.ADDRESS, a.QUOTE, _RISK_INTERVAL),
        risk,
    ),
)
