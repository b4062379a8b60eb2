"""Inventory: what an account paid for what it holds, lot by lot.

A lot is a quantity and its whole cost, both integers. Part of a lot takes its share of the cost,
rounded down, and leaves the rest behind, so that no unit of cost is ever lost or made. Therefore

    realised + (value of the rest - cost of the rest) == proceeds - costs + value of the rest

whatever the method: the methods only move gain between the two terms.
"""

from bisect import bisect_left
from typing import Literal, NamedTuple, assert_never

import msgspec

Method = Literal["fifo", "lifo", "hifo", "wac"]
METHODS: tuple[Method, ...] = ("fifo", "lifo", "hifo", "wac")


class Origin(NamedTuple):
    """Where on the chain something happened."""

    block_number: int
    log_index: int


class Lot(msgspec.Struct, frozen=True):
    """A quantity that was acquired at once (`wac`: everything held, pooled) and its whole cost."""

    quantity: int
    cost: int
    opened: Origin


class Disposal(msgspec.Struct, frozen=True):
    """A quantity given away, what came in for it, and the parts of lots that went."""

    quantity: int
    proceeds: int
    lots: tuple[Lot, ...]
    closed: Origin

    @property
    def cost(self) -> int:
        return sum(lot.cost for lot in self.lots)

    @property
    def realised(self) -> int:
        return self.proceeds - self.cost


class Inventory:
    """One account's lots of one token. Costs and proceeds are in one quote token's units."""

    def __init__(self, method: Method) -> None:
        self._method = method
        self.lots: list[Lot] = []
        """Oldest first; with `hifo` dearest first, with `wac` at most one."""
        self.disposals: list[Disposal] = []
        self.quantity = 0
        self.cost = 0
        """Of all lots."""
        self.realised = 0
        self.uncovered = 0
        """Quantity given away that no lot held: whoever has any knows no cost for it."""

    def acquire(self, quantity: int, cost: int, origin: Origin) -> None:
        """Open a lot (`wac`: pool it)."""
        assert quantity >= 0, "a lot has a quantity"
        if not quantity:
            self.realised -= cost  # paid for nothing: a fee that took it all
            return
        self.quantity += quantity
        self.cost += cost
        lot = Lot(quantity, cost, origin)
        match self._method:
            case "fifo" | "lifo":
                self.lots.append(lot)
            case "hifo":
                self.lots.insert(self._dearer_than(lot), lot)
            case "wac":
                pooled = self.lots.pop() if self.lots else Lot(0, 0, origin)
                self.lots.append(Lot(pooled.quantity + quantity, pooled.cost + cost, pooled.opened))
            case _:
                assert_never(self._method)

    def dispose(self, quantity: int, proceeds: int, origin: Origin) -> Disposal:
        """Close lots in the method's order and realise what they gained."""
        left, taken = quantity, []
        at = -1 if self._method == "lifo" else 0
        while left and self.lots:
            lot = self.lots[at]
            part = min(left, lot.quantity)
            cost = lot.cost * part // lot.quantity
            taken.append(Lot(part, cost, lot.opened))
            left -= part
            if part == lot.quantity:
                self.lots.pop(at)
            else:
                self.lots[at] = Lot(lot.quantity - part, lot.cost - cost, lot.opened)
        self.uncovered += left
        disposal = Disposal(quantity, proceeds, tuple(taken), origin)
        self.disposals.append(disposal)
        self.quantity -= quantity - left
        self.cost -= disposal.cost
        self.realised += disposal.realised
        return disposal

    def _dearer_than(self, lot: Lot) -> int:
        """How many lots cost at least as much a unit; prices compared without division."""
        return bisect_left(
            self.lots, True, key=lambda other: other.cost * lot.quantity < lot.cost * other.quantity
        )
