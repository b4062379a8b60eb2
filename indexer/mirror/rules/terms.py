"""Words that every protocol's rules are written in.

Rules are a generator over a `View` of a book: they yield the next effect of an order's matching
and go on once it has happened. Whoever drives them makes it happen: in an audit the chain did
(mirror/audit.py), in a simulation a draft of the book does (mirror/draft.py). So rules always read
the state that the contract reads at that point, other logs' balance changes included, and touch
nothing.
"""

from collections.abc import Callable, Generator
from typing import Protocol

import msgspec

from indexer.domain.effect import Effect
from indexer.domain.market import Market
from indexer.domain.order import Order, Side
from indexer.domain.units import Price
from indexer.mirror.book import Book

Funds = Callable[[], int]
"""What the taker has available, now, of the token it spends."""


class Clean(msgspec.Struct, frozen=True, gc=False):
    """An empty level leaves the price tree. The contract does it silently."""

    side: Side
    price: Price


class View:
    """What rules may read. A driver may put another book under them while they wait."""

    __slots__ = ("book", "funds")

    def __init__(self, book: Book, funds: Funds) -> None:
        self.book = book
        self.funds = funds


Run = Generator[Effect | Clean, None, None]


class Rules(Protocol):
    """A protocol's matching rules: a module with these names."""

    LEVELS_STAY: bool
    """A level emptied by a fill stays in the price tree until a taker or a cancel cleans it."""
    REFUNDS: bool
    """What a limit buyer locked above the price it got comes back with the fill."""
    RELEASES_EXPIRED: bool
    """An expired order's funds come back when it leaves its queue."""
    CUTS_MARKET_ORDERS: bool
    """A market order short of funds fills what it can; else its tx reverts."""

    def match(self, view: View, taker: Order, now: int, lot: int) -> Run:
        """The effects of `taker`, which has just been placed, at block time `now`.

        `lot`: base units per lot of the market, 1 where it has none.
        """

    def refuses(self, taker: Order, market: Market, base_unit: int, now: int) -> str | None:
        """Why the contract would not even take the order, by its name for it; None if it would."""


def opposite(side: Side) -> Side:
    return "sell" if side == "buy" else "buy"


def crosses(taker: Order, price: Price) -> bool:
    """A limit taker may trade at `price`; equality trades."""
    return taker.price >= price if taker.side == "buy" else taker.price <= price
