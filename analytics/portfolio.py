"""A portfolio: the journal folded into lots, one token at a time, valued in one quote token.

A trade disposes of what it paid and acquires what it got, both at the trade's value, so a trade
earns nothing by itself. A flow in opens a lot at its mark, a flow out closes lots at its mark:
neither is profit. Hence, for every method and to the unit,

    realised + unrealised == value now - the flows' net value.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from fractions import Fraction

import msgspec

from analytics.journal import Entry, Exchange, Flow
from analytics.lots import Disposal, Inventory, Lot, Method
from analytics.marks import Marks, Rate
from analytics.returns import Point
from indexer.domain.units import Address


class Held(msgspec.Struct):
    """One token in a portfolio while its journal is folded."""

    inventory: Inventory
    trades: list[Disposal] = []
    """Disposals by trades: what wins and losses are counted from."""
    flows: int = 0
    """Net value of flows."""
    reason: str | None = None
    """Why its profit cannot be told."""
    later: int = 0
    """Flows valued at a first price that came after them."""


class Result(msgspec.Struct, frozen=True):
    """What became of one token. Amounts of the quote token, None where `reason` says why."""

    token: Address
    quantity: int
    rate: Rate | None
    value: int | None
    cost: int | None
    realised: int | None
    unrealised: int | None
    net_flows: int | None
    lots: tuple[Lot, ...]
    disposals: tuple[Disposal, ...]
    trades: tuple[Disposal, ...]
    reason: str | None
    later: int

    @property
    def pnl(self) -> int | None:
        if self.realised is None or self.unrealised is None:
            return None
        return self.realised + self.unrealised


class Fold:
    """A journal folded as far as it has been read, to be continued with what comes behind.

    Holds as long as the chain and `priced` do: another priced market may give old flows a value.
    """

    def __init__(self, method: Method, priced: Collection[Address]) -> None:
        self.count = 0
        """Entries folded."""
        self.priced = priced
        self._method = method
        self._held: dict[Address, Held] = {}

    def advance(self, entries: Sequence[Entry], marks: Marks) -> None:
        """Fold what is new; `entries` are all of them."""
        for entry in entries[self.count :]:
            match entry:
                case Flow():
                    _flow(_of(self._held, entry.token, self._method), entry, marks)
                case Exchange():
                    _exchange(self._held, entry, marks, self._method)
        self.count = len(entries)

    def results(self, marks: Marks, block_number: int) -> dict[Address, Result]:
        """Every token the account ever had, at the end of `block_number`."""
        tokens = sorted(self._held.items())
        return {token: _result(token, one, marks, block_number) for token, one in tokens}


def fold(
    entries: Sequence[Entry], marks: Marks, method: Method, block_number: int
) -> dict[Address, Result]:
    """A whole journal at once."""
    one = Fold(method, marks.priced)
    one.advance(entries, marks)
    return one.results(marks, block_number)


def _of(held: dict[Address, Held], token: Address, method: Method) -> Held:
    if token not in held:
        held[token] = Held(Inventory(method), [])
    return held[token]


def _flow(one: Held, flow: Flow, marks: Marks) -> None:
    rate = marks.rate(flow.token, flow.origin.block_number)
    if rate is None:
        one.reason = marks.why_not(flow.token)
    elif rate.later:
        one.later += 1
    value = 0 if rate is None else rate.of(abs(flow.amount))
    if flow.amount > 0:
        one.flows += value
        one.inventory.acquire(flow.amount, value, flow.origin)
    else:
        one.flows -= value
        one.inventory.dispose(-flow.amount, value, flow.origin)


def _exchange(held: dict[Address, Held], trade: Exchange, marks: Marks, method: Method) -> None:
    paid, got = _of(held, trade.paid_token, method), _of(held, trade.got_token, method)
    value, reason = worth(trade, marks)
    if reason is not None:
        paid.reason = got.reason = reason
    paid.trades.append(paid.inventory.dispose(trade.paid, value, trade.origin))
    got.inventory.acquire(trade.got, value, trade.origin)


def worth(trade: Exchange, marks: Marks) -> tuple[int, str | None]:
    """The value of what changed hands: exact if one leg is the quote token, else by mark."""
    if trade.paid_token == marks.quote:
        return trade.paid, None
    if trade.got_token == marks.quote:
        return trade.got, None
    bought = trade.side == "buy"
    token, amount = (trade.paid_token, trade.paid) if bought else (trade.got_token, trade.got)
    rate = marks.rate(token, trade.origin.block_number)
    if rate is None:
        return 0, marks.why_not(token)
    return rate.of(amount), None


def _result(token: Address, one: Held, marks: Marks, block_number: int) -> Result:
    inventory = one.inventory
    rate = marks.rate(token, block_number)
    reason = one.reason
    if inventory.uncovered:
        reason = f"{inventory.uncovered} units were given away that no stored event brought in"
    elif rate is None and inventory.quantity:
        reason = marks.why_not(token)
    value = 0 if not inventory.quantity else None if rate is None else rate.of(inventory.quantity)
    known = reason is None and value is not None
    return Result(
        token,
        inventory.quantity,
        rate,
        value,
        inventory.cost if known else None,
        inventory.realised if known else None,
        value - inventory.cost if known and value is not None else None,
        one.flows if known else None,
        tuple(inventory.lots),
        tuple(inventory.disposals),
        tuple(one.trades),
        reason,
        one.later,
    )


class EquityPoint(msgspec.Struct, frozen=True):
    """The whole account at the end of a block. `value` is None where a token has no rate."""

    block_number: int
    timestamp: int
    value: int | None
    flow: int
    """Net value of the flows since the point before, each at its own block's mark."""

    def point(self) -> Point | None:
        return None if self.value is None else Point(self.timestamp, self.value, self.flow)


def equity(
    entries: Sequence[Entry],
    marks: Marks,
    blocks: Sequence[tuple[int, int]],
    before: Mapping[Address, int] | None = None,
) -> list[EquityPoint]:
    """The account's value at the end of each (block number, timestamp), oldest first.

    `before` is what it held when the entries begin.
    """
    held = dict(before or {})
    points: list[EquityPoint] = []
    at, flow = 0, 0
    for number, timestamp in blocks:
        while at < len(entries) and entries[at].origin.block_number <= number:
            flow += _move(held, entries[at], marks)
            at += 1
        points.append(EquityPoint(number, timestamp, _value(held, marks, number), flow))
        flow = 0
    return points


def _move(held: dict[Address, int], entry: Entry, marks: Marks) -> int:
    """Move an entry's funds; the value of what flowed."""
    match entry:
        case Flow():
            held[entry.token] = held.get(entry.token, 0) + entry.amount
            rate = marks.rate(entry.token, entry.origin.block_number)
            return 0 if rate is None else rate.of(entry.amount)
        case Exchange():
            held[entry.paid_token] = held.get(entry.paid_token, 0) - entry.paid
            held[entry.got_token] = held.get(entry.got_token, 0) + entry.got
            return 0


def _value(held: dict[Address, int], marks: Marks, block_number: int) -> int | None:
    total = 0
    for token, quantity in held.items():
        if quantity:
            rate = marks.rate(token, block_number)
            if rate is None:
                return None
            total += rate.of(quantity)
    return total


def win_rate(results: Iterable[Result]) -> Fraction | None:
    """Of the trades that realised something, the part that realised a gain."""
    gains = [d.realised for r in results if r.reason is None for d in r.trades if d.realised]
    return Fraction(sum(1 for gain in gains if gain > 0), len(gains)) if gains else None
