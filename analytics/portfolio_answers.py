"""Portfolio answers: what an account holds and what became of what it put in.

Amounts are decimal text in whole tokens. A figure that cannot be computed is null, and `reason`
beside it says why.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import chain
from typing import Any

from analytics import arguments as a
from analytics import text
from analytics.account import (
    Account,
    at_ends,
    load_account,
    load_marks,
    moments,
    positions,
    quote_token,
    value,
)
from analytics.endpoint import Answer, Ask, Endpoint
from analytics.journal import Exchange
from analytics.lots import METHODS, Disposal, Lot
from analytics.marks import Marks, Rate
from analytics.portfolio import Result, equity, win_rate
from analytics.returns import Point, modified_dietz, money_weighted, time_weighted
from indexer.domain.market import Token

NO_GAS = "logs tell no gas; it is paid in the chain's own asset, outside the exchange"


async def portfolio(ask: Ask) -> Answer:
    account, quote = await load_account(ask), quote_token(ask)
    marks = await load_marks(ask, quote, moments(account.entries), ask["mark"])
    results = await value(ask, account, marks, ask["method"], ask["mark"])
    rows = [_position(account, one, quote, marks) for one in results.values()]
    answer = {
        "account": account.address,
        "quote": _token(quote),
        "method": ask["method"],
        "mark": ask["mark"],
        "totals": _totals(results.values(), quote),
        "positions": rows,
    }
    if ask["explain"]:
        answer["explain"] = {
            account.tokens[token].symbol: _why(account, one, quote)
            for token, one in results.items()
        }
    return answer


async def allocation(ask: Ask) -> Answer:
    account, quote = await load_account(ask), quote_token(ask)
    results = await value(ask, account, await load_marks(ask, quote, moments(account.entries)))
    total = sum(one.value or 0 for one in results.values())
    rows = [
        {
            "token": account.tokens[one.token].symbol,
            "address": one.token,
            "value": text.amount(one.value, quote.decimals),
            "weight": None if one.value is None or not total else _weight(one.value, total),
            "reason": _value_reason(one),
        }
        for one in results.values()
        if one.quantity
    ]
    return {"account": account.address, "quote": _token(quote), "allocation": rows}


async def pnl(ask: Ask) -> Answer:
    account, quote = await load_account(ask), quote_token(ask)
    marks = await load_marks(ask, quote, moments(account.entries), ask["mark"])
    results = await value(ask, account, marks, ask["method"], ask["mark"])
    rows = [
        {
            "token": account.tokens[one.token].symbol,
            "address": one.token,
            "realised": text.amount(one.realised, quote.decimals),
            "unrealised": text.amount(one.unrealised, quote.decimals),
            "pnl": text.amount(one.pnl, quote.decimals),
            "net_flows": text.amount(one.net_flows, quote.decimals),
            "reason": one.reason,
        }
        for one in results.values()
    ]
    methods = {}
    for method in METHODS:
        totals = _totals(positions(ask, account, marks, method, ask["mark"]).values(), quote)
        methods[method] = {key: totals[key] for key in ("realised", "unrealised", "pnl")}
    answer = {
        "account": account.address,
        "quote": _token(quote),
        "method": ask["method"],
        "totals": _totals(results.values(), quote),
        "methods_at_mid" if ask["mark"] == "executable" else "methods": methods,
        "gas": None,
        "gas_reason": NO_GAS,
        "tokens": rows,
    }
    if ask["explain"]:
        answer["explain"] = {
            account.tokens[token].symbol: _why(account, one, quote)
            for token, one in results.items()
        }
    return answer


async def lots(ask: Ask) -> Answer:
    account, quote = await load_account(ask), quote_token(ask)
    marks = await load_marks(ask, quote, moments(account.entries))
    results = positions(ask, account, marks, ask["method"])
    rows = [
        {"token": account.tokens[one.token].symbol, **_lot(lot, account.tokens[one.token], quote)}
        for one in results.values()
        for lot in one.lots
        if one.reason is None
    ]
    reasons = {
        account.tokens[token].symbol: one.reason for token, one in results.items() if one.reason
    }
    return {
        "account": account.address,
        "quote": _token(quote),
        "method": ask["method"],
        "reasons": reasons,
        "lots": rows,
    }


async def performance(ask: Ask) -> Answer:
    account, quote = await load_account(ask), quote_token(ask)
    blocks = flow_blocks(ask, account)
    needed = chain(moments(account.entries), at_ends(account.entries, blocks))
    marks = await load_marks(ask, quote, needed)
    results = positions(ask, account, marks, ask["method"])
    points, reason = flow_points(account, marks, blocks)
    rate = money_weighted(points)
    fills = [one for one in account.entries if isinstance(one, Exchange)]
    return {
        "account": account.address,
        "quote": _token(quote),
        "totals": _totals(results.values(), quote),
        "time_weighted_return": text.ratio(time_weighted(points)),
        "modified_dietz": text.ratio(modified_dietz(points)),
        "money_weighted_return": None if rate is None else rate.period,
        "money_weighted_return_annual": None if rate is None else rate.annual,
        "reason": reason or (None if rate else "no time has passed, or no rate fits its flows"),
        "win_rate": text.ratio(win_rate(results.values())),
        "trades": len(fills),
        **_volumes(fills, marks, quote),
    }


def flow_blocks(ask: Ask, account: Account) -> dict[int, int]:
    """The blocks in which something flowed, and now; each with its timestamp."""
    blocks = {
        one.origin.block_number: one.timestamp
        for one in account.entries
        if not isinstance(one, Exchange)
    }
    blocks[ask.at.number] = ask.at.timestamp
    return blocks


def flow_points(
    account: Account, marks: Marks, blocks: dict[int, int]
) -> tuple[list[Point], str | None]:
    """The account's value at the end of each of the blocks."""
    curve = equity(account.entries, marks, sorted(blocks.items()))
    points = [point for one in curve if (point := one.point()) is not None]
    if len(points) < len(curve):
        return [], "a token was held that no market led from to the quote token"
    return points, None


def _volumes(fills: Sequence[Exchange], marks: Marks, quote: Token) -> dict[str, Any]:
    """What was traded in each role, in the quote token."""
    sums = {"maker": 0, "taker": 0}
    unknown = 0
    for one in fills:
        rate = marks.rate(one.quote_token, one.origin.block_number)
        if rate is None:
            unknown += 1
        else:
            sums[one.role] += rate.of(one.trade.quote_amount)
    told = {
        f"{role}_volume": None if unknown else text.amount(total, quote.decimals)
        for role, total in sums.items()
    }
    return {**told, "volume_reason": f"{unknown} trades have no rate" if unknown else None}


# -- parts of answers ------------------------------------------------------------------------------


def _position(account: Account, one: Result, quote: Token, marks: Marks) -> dict[str, Any]:
    token, balance = account.tokens[one.token], account.balances.get(one.token)
    return {
        "token": token.symbol,
        "address": one.token,
        "quantity": text.amount(one.quantity, token.decimals),
        "available": text.amount(balance.available if balance else 0, token.decimals),
        "locked": text.amount(balance.locked if balance else 0, token.decimals),
        "rate": _rate(one.rate, token, quote),
        "value": text.amount(one.value, quote.decimals),
        "cost": text.amount(one.cost, quote.decimals),
        "realised": text.amount(one.realised, quote.decimals),
        "unrealised": text.amount(one.unrealised, quote.decimals),
        "pnl": text.amount(one.pnl, quote.decimals),
        "net_flows": text.amount(one.net_flows, quote.decimals),
        "reason": one.reason or _value_reason(one),
        "flows_valued_later": one.later,
    }


def _value_reason(one: Result) -> str | None:
    if one.value is None:
        return one.reason or "no market leads from this token to the quote token"
    return None


def _totals(results: Iterable[Result], quote: Token) -> dict[str, Any]:
    """Sums over all tokens; null as soon as one of them is."""
    known = list(results)
    totals: dict[str, Any] = {}
    for name in ("value", "cost", "realised", "unrealised", "pnl", "net_flows"):
        parts: list[int | None] = [getattr(one, name) for one in known]
        whole = None if None in parts else sum(part or 0 for part in parts)
        totals[name] = text.amount(whole, quote.decimals)
    reasons = sorted({one.reason for one in known if one.reason is not None})
    totals["reason"] = "; ".join(reasons) or None
    return totals


def _why(account: Account, one: Result, quote: Token) -> dict[str, Any]:
    """The fills, lots and marks behind a position."""
    token = account.tokens[one.token]
    fills = [
        [entry.origin.block_number, entry.origin.log_index]
        for entry in account.entries
        if isinstance(entry, Exchange) and one.token in (entry.paid_token, entry.got_token)
    ]
    marks = one.rate.marks if one.rate else ()
    return {
        "fills": fills,
        "lots": [_lot(lot, token, quote) for lot in one.lots],
        "disposals": [_disposal(each, token, quote) for each in one.disposals],
        "marks": [
            {"market": mark.market, "block": mark.block_number, "later": mark.later}
            for mark in marks
        ],
    }


def _lot(lot: Lot, token: Token, quote: Token) -> dict[str, Any]:
    unit = Fraction(lot.cost * token.unit, lot.quantity)
    return {
        "quantity": text.amount(lot.quantity, token.decimals),
        "cost": text.amount(lot.cost, quote.decimals),
        "unit_cost": text.price(unit, quote.decimals),
        "block": lot.opened.block_number,
        "log_index": lot.opened.log_index,
    }


def _disposal(one: Disposal, token: Token, quote: Token) -> dict[str, Any]:
    return {
        "quantity": text.amount(one.quantity, token.decimals),
        "proceeds": text.amount(one.proceeds, quote.decimals),
        "cost": text.amount(one.cost, quote.decimals),
        "realised": text.amount(one.realised, quote.decimals),
        "block": one.closed.block_number,
        "log_index": one.closed.log_index,
        "lots": [_lot(lot, token, quote) for lot in one.lots],
    }


def _token(token: Token) -> dict[str, Any]:
    return {"symbol": token.symbol, "address": token.address, "decimals": token.decimals}


def _rate(rate: Rate | None, token: Token, quote: Token) -> str | None:
    """Whole quote tokens for one whole token."""
    return None if rate is None else text.price(rate.value * token.unit, quote.decimals)


def _weight(part: int, total: int) -> str | None:
    return text.ratio(Fraction(part, total))


_VALUED = (a.ADDRESS, a.QUOTE)
ENDPOINTS = (
    Endpoint(
        "/api/portfolio/{address}",
        "Positions with cost and profit, valued in one token",
        (*_VALUED, a.METHOD, a.MARK, a.EXPLAIN),
        portfolio,
        "positions",
    ),
    Endpoint(
        "/api/portfolio/{address}/allocation",
        "What part of the whole each token is",
        _VALUED,
        allocation,
        "allocation",
    ),
    Endpoint(
        "/api/portfolio/{address}/pnl",
        "Realised and unrealised profit by token; their sum is the same for every method",
        (*_VALUED, a.METHOD, a.MARK, a.EXPLAIN),
        pnl,
        "tokens",
    ),
    Endpoint(
        "/api/portfolio/{address}/lots",
        "Open lots and what they cost",
        (*_VALUED, a.METHOD),
        lots,
        "lots",
    ),
    Endpoint(
        "/api/portfolio/{address}/performance",
        "Time- and money-weighted returns, win rate, volumes by role",
        (*_VALUED, a.METHOD),
        performance,
    ),
)
