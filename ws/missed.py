"""Pure: what a slow client did not get of one stream, as the one event that makes up for it.

Quantities are absolute, so the last word on each level stands for all diffs, and the links of the
first and the last close the chain: a strict client keeps its book and sees no gap. What tells a
state (tickers, candles, partial books) is told by its newest event.
"""

from typing import Any

import msgspec

FACTS = ("trade", "aggTrade", "user")
"""Channels of which nothing may be left out."""
MAX_LEVELS = 50_000
"""Levels of diffs kept for a slow client; beyond that it has to read its book anew."""


class Missed:
    """One stream of one client."""

    def __init__(self) -> None:
        self._newest = b""
        self._first: dict[str, Any] | None = None
        self._levels: dict[str, dict[str, list[str]]] = {"b": {}, "a": {}}

    def add(self, event: bytes) -> bool:
        """Gather an event. False if that is too much to keep."""
        self._newest = event
        if not event.startswith(b'{"e":"depthUpdate"'):
            return True
        diff = msgspec.json.decode(event)
        self._first = self._first or diff
        for side, levels in self._levels.items():
            levels.update({level[0]: level for level in diff[side]})
        return sum(map(len, self._levels.values())) <= MAX_LEVELS

    def take(self) -> bytes:
        """The event that stands for all of them."""
        if self._first is None:
            return self._newest
        links = {"U": self._first["U"], "pu": self._first["pu"]}
        levels = {side: list(levels.values()) for side, levels in self._levels.items()}
        return msgspec.json.encode({**msgspec.json.decode(self._newest), **links, **levels})
