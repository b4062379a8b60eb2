"""How makers quote: how long on both sides, how much, how close, and what became of their orders.

All is counted in blocks: what an order was at a block's end holds until the next block that
touched it.
"""

from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from itertools import groupby
from typing import NamedTuple

import msgspec

from analytics.limits import MAX_QUOTE_STEPS
from analytics.micro import BPS
from analytics.ratios import short
from indexer.domain.order import Side
from indexer.domain.units import Address, quote_amount

RESTING = ("open", "partially_filled")
REACH_BPS = 100
"""A quote counts for the score if it is no further from mid."""


class QuoteRow(NamedTuple):
    """A limit order after one event of its life, in chain order."""

    account: Address
    side: Side
    order_id: int
    block_number: int
    status: str
    price: int
    quantity: int
    filled: int


def uptime(rows: Sequence[QuoteRow], first: int, last: int) -> dict[Address, Fraction]:
    """The part of the blocks at whose end an account rested on both sides, at any distance.

    Accounts that never did are left out.
    """
    resting: defaultdict[Address, dict[str, set[int]]] = defaultdict(
        lambda: {"buy": set(), "sell": set()}
    )
    began: dict[Address, int] = {}
    total: defaultdict[Address, int] = defaultdict(int)
    if last < first:
        return {}
    for row in rows:
        account, sides = row.account, resting[row.account]
        if row.status in RESTING:
            sides[row.side].add(row.order_id)
        else:
            sides[row.side].discard(row.order_id)
        both = bool(sides["buy"]) and bool(sides["sell"])
        if both and account not in began:
            began[account] = row.block_number
        elif not both and account in began:
            total[account] += max(row.block_number - max(began.pop(account), first), 0)
    for account, block in began.items():
        total[account] += last + 1 - max(block, first)
    return {account: Fraction(blocks, last + 1 - first) for account, blocks in total.items()}


class Orders(msgspec.Struct):
    """What became of an account's limit orders that were placed in a period."""

    placed: int = 0
    quantity: int = 0
    filled: int = 0
    blocks: int = 0
    """Lived by all of them, up to now for those that rest."""

    @property
    def fill_ratio(self) -> Fraction | None:
        return Fraction(self.filled, self.quantity) if self.quantity else None

    @property
    def mean_life(self) -> Fraction | None:
        return Fraction(self.blocks, self.placed) if self.placed else None


def lives(rows: Sequence[QuoteRow], first: int, last: int) -> dict[Address, Orders]:
    """By account; blocks from placing to the end of resting."""
    begun: dict[int, int] = {}
    ends: dict[int, QuoteRow] = {}
    for row in rows:
        begun.setdefault(row.order_id, row.block_number)
        ended = ends.get(row.order_id)
        if ended is None or ended.status in RESTING:
            ends[row.order_id] = row
    found: defaultdict[Address, Orders] = defaultdict(Orders)
    for order_id, row in ends.items():
        if begun[order_id] >= first:
            one = found[row.account]
            one.placed += 1
            one.quantity += row.quantity
            one.filled += row.filled
            until = last if row.status in RESTING else row.block_number
            one.blocks += until - begun[order_id]
    return dict(found)


class Quoted(msgspec.Struct):
    """Sums over the blocks at which an account quoted both sides within reach of mid."""

    blocks: int = 0
    depth: int = 0
    """Quote units within reach, both sides, times blocks."""
    spread: Fraction = Fraction(0)
    """Between its best quotes in bps of mid, times blocks."""

    def score(self, blocks: int, quote_unit: int) -> Fraction | None:
        """Uptime * mean depth in whole quote tokens / mean spread in bps."""
        if not self.blocks or not self.spread or not blocks:
            return None
        return Fraction(self.blocks, blocks) * self.depth / quote_unit / self.spread


class _Quotes:
    """One account's resting orders now, and since when what they offer has been the same."""

    def __init__(self) -> None:
        self.orders: dict[int, QuoteRow] = {}
        self.total = Quoted()
        self.since = 0
        self.offer: tuple[int, Fraction] | None = None
        """Depth and spread, if both sides are within reach."""

    def flush(self, block_number: int, first: int) -> None:
        """Count what was offered up to before a block."""
        lasted = block_number - max(self.since, first)
        if self.offer is not None and lasted > 0:
            self.total.blocks += lasted
            self.total.depth += self.offer[0] * lasted
            self.total.spread = short(self.total.spread + self.offer[1] * lasted)
        self.since = block_number

    def look(self, mid: Fraction | None, base_unit: int) -> None:
        self.offer = None
        if mid is None:
            return
        parts, reach = mid.denominator, mid.numerator * REACH_BPS
        near = [
            one
            for one in self.orders.values()
            if abs(one.price * parts - mid.numerator) * BPS <= reach
        ]
        bids = [one.price for one in near if one.side == "buy"]
        asks = [one.price for one in near if one.side == "sell"]
        if bids and asks:
            depth = sum(
                quote_amount(one.quantity - one.filled, one.price, base_unit) for one in near
            )
            self.offer = depth, BPS * (min(asks) - max(bids)) / mid


def quoted(
    rows: Sequence[QuoteRow],
    mids: Sequence[tuple[int, Fraction]],
    base_unit: int,
    first: int,
    last: int,
) -> dict[Address, Quoted] | None:
    """By account, over the blocks from first to last; None where it would take too many steps."""
    changes = {number: list(of) for number, of in groupby(rows, lambda row: row.block_number)}
    marks = dict(mids)
    makers: defaultdict[Address, _Quotes] = defaultdict(_Quotes)
    mid: Fraction | None = None
    steps = 0
    for number in sorted(changes.keys() | marks.keys()):
        touched = {row.account for row in changes.get(number, ())}
        if marks.get(number, mid) != mid:
            mid = marks[number]
            touched |= makers.keys()
        for account in touched:
            makers[account].flush(number, first)
        for row in changes.get(number, ()):
            if row.status in RESTING:
                makers[row.account].orders[row.order_id] = row
            else:
                makers[row.account].orders.pop(row.order_id, None)
        for account in touched:
            steps += len(makers[account].orders)
            makers[account].look(mid, base_unit)
        if steps > MAX_QUOTE_STEPS:
            return None
    for one in makers.values():
        one.flush(last + 1, first)
    return {account: one.total for account, one in makers.items() if one.total.blocks}
