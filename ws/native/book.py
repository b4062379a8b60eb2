"""Pure: a market's book as levels, kept by absolute changes, and its checksum."""

import zlib
from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

CHECKSUM_LEVELS = 10

Level = tuple[str, str, int]
"""Price and quantity in contract units as text, and how many orders make it up."""


class Side:
    """One side, best level first."""

    def __init__(self, *, descending: bool) -> None:
        self._sign = -1 if descending else 1
        self._keys: list[int] = []
        self._levels: dict[int, Level] = {}

    def set(self, price: str, quantity: str, order_count: int) -> None:
        """Quantity 0 takes the level away; taking away what is not there does no harm."""
        key = self._sign * int(price)
        if quantity == "0":
            if self._levels.pop(key, None) is not None:
                del self._keys[bisect_left(self._keys, key)]
            return
        if key not in self._levels:
            insort(self._keys, key)
        self._levels[key] = (price, quantity, order_count)

    def top(self, most: int | None = None) -> list[Level]:
        return [self._levels[key] for key in self._keys[:most]]


class Book:
    """Both sides of one market. Applying a change twice does no harm."""

    def __init__(self, bids: Iterable[Sequence[Any]] = (), asks: Iterable[Sequence[Any]] = ()):
        self.bids = Side(descending=True)
        self.asks = Side(descending=False)
        self.apply({"bids": bids, "asks": asks})

    def apply(self, data: Mapping[str, Iterable[Sequence[Any]]]) -> None:
        """Set the levels of a `depth` message, whether it applies or retracts."""
        for side, levels in ((self.bids, data["bids"]), (self.asks, data["asks"])):
            for price, quantity, order_count in levels:
                side.set(price, quantity, order_count)

    def levels(self, most: int | None = None) -> dict[str, list[Level]]:
        """What a `depth` message carries: all levels, or the `most` best of each side."""
        return {"bids": self.bids.top(most), "asks": self.asks.top(most)}

    def checksum(self) -> int:
        """CRC32 over the ten best asks, then the ten best bids.

        Kraken's canonical form: price, then quantity, without point and leading zeros, which is
        what integers in contract units are to begin with.
        """
        best = self.asks.top(CHECKSUM_LEVELS) + self.bids.top(CHECKSUM_LEVELS)
        return zlib.crc32("".join(price + quantity for price, quantity, _ in best).encode())
