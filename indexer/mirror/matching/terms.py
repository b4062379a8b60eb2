"""What the naive and the fast book have in common."""

from collections.abc import Iterator, Sequence
from typing import Protocol

Met = Sequence[tuple[str, int, int]]
"""(maker id, maker's price, quantity) in order; quantity 0: the taker's own order, which goes."""


class MatchingBook(Protocol):
    """A book of the rules `price_time` (contracts_test/RULES.md, section 4), without funds.

    An account of None is nobody's: it never meets itself.
    """

    def __contains__(self, id_: str) -> bool: ...

    def place(
        self, id_: str, account: str | None, buy: bool, price: int, quantity: int
    ) -> tuple[Met, int]: ...

    def take(
        self, account: str | None, buy: bool, price: int | None, quantity: int
    ) -> tuple[Met, int]: ...

    def cancel(self, id_: str, quantity: int | None = None) -> int | None: ...

    def takes(self, account: str | None, buy: bool, price: int | None, most: int) -> int: ...

    def meets(self, buy: bool, price: int | None) -> bool: ...

    def depth(self, levels: int) -> tuple[list[list[int]], list[list[int]]]: ...

    def queue(self, buy: bool) -> Iterator[tuple[str, str | None, int, int]]: ...
