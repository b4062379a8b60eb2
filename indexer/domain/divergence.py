"""Where the mirror's opinion and the chain differ. The chain wins; the difference is kept."""

from typing import Literal

import msgspec

from indexer.domain.effect import Effect
from indexer.domain.units import Address, Hash

DivergenceKind = Literal[
    "wrong_maker",
    "wrong_price",
    "wrong_quantity",
    "wrong_status",
    "missing_fill",
    "missing_cancel",
    "missing_expiry",
    "missing_status",
    "missing_revert",
    "unexpected_fill",
    "unexpected_cancel",
    "unexpected_expiry",
    "unexpected_status",
    "impossible",
]
"""`wrong_*`: in its place came another. `missing_*`: the chain did not say it. `unexpected_*`:
the rules did not. `impossible`: an order left a queue that has none; the contract would revert.
A fill that is wrong in more than one way is named by the first of the three."""


class Divergence(msgspec.Struct, frozen=True):
    """One disagreement, at the log that shows it (for a missing effect: the last one before).

    `expected` is None if the rules foresaw nothing, `found` if the chain said nothing.
    """

    market: Address
    block_number: int
    log_index: int
    tx: Hash
    order_id: int
    """The taker whose matching it was; for effects outside any matching the order itself."""
    kind: DivergenceKind
    expected: Effect | None
    found: Effect | None
