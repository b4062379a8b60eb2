"""Pure: sentiment, a score from 0 to 100 of how unusual the newest part of a period is.

The period is cut into equal parts. Each component has a value in each part, and the newest is
compared with the others: z = (newest - mean) / deviation, no further than 3 from 0.

    score = 50 + 50 * sum(weight * z / 3) / sum(weight)

over the components whose z is known: 50 is as always, above is more buying than usual.
"""

from collections.abc import Mapping, Sequence

import msgspec

from analytics.returns import deviation, mean

PARTS = 24
"""Of a period."""
MAX_Z = 3.0
MIN_PARTS = 2
"""Earlier parts with a value, below which nothing is usual yet."""
WEIGHTS = {
    "taker_buys": 0.30,
    "order_flow": 0.25,
    "depth_skew": 0.15,
    "momentum": 0.20,
    "volume_surprise": 0.10,
}
FORMULA = (
    "score = 50 + 50 * sum(weight * z / 3) / sum(weight) over the known components; "
    "z = (newest - mean of the earlier) / their deviation, from -3 to 3, of a period in 24 parts: "
    "taker_buys = (taker buys - taker sells) / volume; order_flow = sum(e_n) / sum(|e_n|); "
    "depth_skew = (bids - asks) / both within 100 bps, at the part's end; momentum = return of the "
    "mid; volume_surprise = volume"
)


class Component(msgspec.Struct, frozen=True):
    """One component in the newest part, and against the earlier ones."""

    value: float | None
    mean: float | None
    deviation: float | None
    z: float | None
    reason: str | None


def component(values: Sequence[float | None]) -> Component:
    """`values` by part, oldest first; None where a part has none."""
    newest = values[-1] if values else None
    earlier = [value for value in values[:-1] if value is not None]
    usual, spread = mean(earlier), deviation(earlier)
    reason, z = None, None
    if newest is None or usual is None:
        reason = "no value in the newest part of the period" if newest is None else "no past"
    elif len(earlier) < MIN_PARTS or not spread:
        reason = "too few earlier values, or they are all the same"
    else:
        z = max(-MAX_Z, min(MAX_Z, (newest - usual) / spread))
    return Component(newest, usual, spread, z, reason)


def score(components: Mapping[str, Component]) -> float | None:
    """None if nothing is known."""
    known = [(WEIGHTS[name], one.z) for name, one in components.items() if one.z is not None]
    if not known:
        return None
    return 50 + 50 * sum(weight * z / MAX_Z for weight, z in known) / sum(w for w, _ in known)
