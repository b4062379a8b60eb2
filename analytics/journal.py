"""An account's journal: everything that moved its funds, in order, and nothing twice.

Three sources say it together: trades (what was exchanged), the totals that balances keep of
deposits and withdrawals (what flowed), and balances themselves. What the first two leave
unexplained of the third (fee income, transfers inside the exchange) is a flow of kind `transfer`,
so the journal's sum is always the balance on the chain.

Flows are known by block: those in come before the block's trades, those out behind them.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from analytics.lots import Origin
from indexer.domain.market import Market
from indexer.domain.order import Side, Trade
from indexer.domain.units import Address

FlowKind = Literal["deposit", "withdrawal", "transfer"]
Role = Literal["maker", "taker"]


class Flow(msgspec.Struct, frozen=True):
    """Funds that came (positive) or went without a trade."""

    origin: Origin
    timestamp: int
    token: Address
    amount: int
    kind: FlowKind


class Exchange(msgspec.Struct, frozen=True):
    """One side of one trade. `got` is net of the fee, which is in the token received."""

    origin: Origin
    timestamp: int
    trade: Trade
    role: Role
    side: Side
    paid_token: Address
    paid: int
    got_token: Address
    got: int
    fee: int | None
    """None where the chain did not report it; what it took is then a `transfer`."""

    @property
    def quote_token(self) -> Address:
        """The one its price is in."""
        return self.paid_token if self.side == "buy" else self.got_token


Entry = Flow | Exchange


class BalanceRow(NamedTuple):
    """A balance after a block that touched it."""

    block_number: int
    log_index: int
    timestamp: int
    token: Address
    available: int
    locked: int
    deposited: int
    withdrawn: int


def sides(account: Address, trade: Trade, market: Market) -> list[Exchange]:
    """The account's part in a trade: two parts if it traded with itself."""
    taker_buys = trade.taker_side == "buy"
    parts: list[Exchange] = []
    if trade.maker == account:
        parts.append(_side(trade, market, "maker", "sell" if taker_buys else "buy"))
    if trade.taker == account:
        parts.append(_side(trade, market, "taker", trade.taker_side))
    return parts


def _side(trade: Trade, market: Market, role: Role, side: Side) -> Exchange:
    fee = trade.maker_fee if role == "maker" else trade.taker_fee
    base, quote = (market.base, int(trade.quantity)), (market.quote, int(trade.quote_amount))
    paid, got = (quote, base) if side == "buy" else (base, quote)
    return Exchange(
        Origin(trade.block_number, trade.log_index),
        trade.timestamp,
        trade,
        role,
        side,
        paid[0],
        paid[1],
        got[0],
        got[1] - (fee or 0),
        fee,
    )


def journal(
    account: Address,
    trades: Iterable[Trade],
    balances: Iterable[BalanceRow],
    markets: Mapping[Address, Market],
    before: Mapping[Address, BalanceRow] | None = None,
) -> list[Entry]:
    """Entries in order; `balances` come in the order of their blocks, `before` holds by token.

    A block's entries follow from its own rows and the balances before it, so a journal can be
    continued block by block.
    """
    exchanges = [part for trade in trades for part in sides(account, trade, markets[trade.market])]
    explained: defaultdict[tuple[int, Address], int] = defaultdict(int)
    for one in exchanges:
        explained[one.origin.block_number, one.paid_token] -= one.paid
        explained[one.origin.block_number, one.got_token] += one.got
    ordered: list[tuple[tuple[int, int, int], Entry]] = [
        ((one.origin.block_number, 1, one.origin.log_index), one) for one in exchanges
    ]
    for flow in _flows(balances, explained, before or {}):
        phase = 0 if flow.amount > 0 else 2
        ordered.append(((flow.origin.block_number, phase, flow.origin.log_index), flow))
    ordered.sort(key=lambda pair: pair[0])
    return [entry for _, entry in ordered]


def _flows(
    balances: Iterable[BalanceRow],
    explained: Mapping[tuple[int, Address], int],
    before: Mapping[Address, BalanceRow],
) -> Iterable[Flow]:
    held = dict(before)
    for row in balances:
        last = held.get(row.token, BalanceRow(0, 0, 0, row.token, 0, 0, 0, 0))
        held[row.token] = row
        came = row.deposited - last.deposited
        went = row.withdrawn - last.withdrawn
        moved = row.available + row.locked - last.available - last.locked
        rest = moved - came + went - explained.get((row.block_number, row.token), 0)
        origin = Origin(row.block_number, row.log_index)
        kinds: Sequence[tuple[FlowKind, int]] = (
            ("deposit", came),
            ("withdrawal", -went),
            ("transfer", rest),
        )
        for kind, amount in kinds:
            if amount:
                yield Flow(origin, row.timestamp, row.token, amount, kind)
