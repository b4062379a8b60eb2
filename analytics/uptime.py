"""How long a maker was there: the part of blocks at whose end it rested on both sides."""

from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from indexer.domain.units import Address

RESTING = ("open", "partially_filled")


def uptime(rows: Sequence[tuple[Any, ...]], first: int, last: int) -> dict[Address, Fraction]:
    """By account; `rows` are (account, side, order id, block, status) in chain order.

    Accounts that never rested on both sides are left out.
    """
    resting: defaultdict[Address, dict[str, set[int]]] = defaultdict(
        lambda: {"buy": set(), "sell": set()}
    )
    began: dict[Address, int] = {}
    total: defaultdict[Address, int] = defaultdict(int)
    if last < first:
        return {}
    for account, side, order_id, block, status in rows:
        sides = resting[account]
        if status in RESTING:
            sides[side].add(order_id)
        else:
            sides[side].discard(order_id)
        both = bool(sides["buy"]) and bool(sides["sell"])
        if both and account not in began:
            began[account] = block
        elif not both and account in began:
            total[account] += max(block - max(began.pop(account), first), 0)
    for account, block in began.items():
        total[account] += last + 1 - max(block, first)
    return {account: Fraction(blocks, last + 1 - first) for account, blocks in total.items()}
