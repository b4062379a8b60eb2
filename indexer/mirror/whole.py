"""What a block leaves behind that nobody can read off its deltas alone.

A whole book, every so many orders of its market: reading a past book begins at one, and so costs
what the book held and those orders did, not what the chain did before and since. Which blocks get
one follows from the block's orders and its book, so every path to a block leaves the same.

The queue of every broken level a block touched, unless it is too long: the contract's list was
spliced there, and whom it lost or found again has no event of its own.
"""

from collections.abc import Iterable, Mapping
from itertools import islice

from indexer.domain.change import BrokenQueue, StandingLevel, WholeBook
from indexer.domain.order import Level, Side
from indexer.domain.units import Address
from indexer.mirror.book import Book

EVERY_ORDERS = 256
"""Orders of one market between two whole books of it; more, where the book has more levels."""

MOST_WAITING = 1_000
"""Orders of a queue that is kept. One event touches it, and whoever fills a level with dust would
have each block write all of it: of a longer one the past is not told."""


def is_due(order_id: int) -> bool:
    """Whether the block in which a market's order was placed may be due. Contracts count up."""
    return order_id % EVERY_ORDERS == 0


def whole_books(number: int, due: Iterable[tuple[Book, int]]) -> tuple[WholeBook, ...]:
    """The books of block `number` that are due: `due` pairs each with an order of `is_due`.

    A book of more levels waits for more orders, to the next power of two: what is kept of books
    never grows faster than what happens in them.
    """
    found: dict[str, WholeBook] = {}
    for book, order_id in due:
        if _has_at_most(book, order_id & -order_id):  # the largest power of two that divides it
            bids, asks = _side(book, "buy"), _side(book, "sell")
            found[book.market] = WholeBook(book.market, number, bids, asks)
    return tuple(found.values())


def _has_at_most(book: Book, levels: int) -> bool:
    """Looks at hardly more: most orders of a large book come when it is not due."""
    standing = (level for level in book.levels.rows.values() if level.quantity > 0)
    return next(islice(standing, levels, None), None) is None


def _side(book: Book, side: Side) -> tuple[StandingLevel, ...]:
    return tuple(
        StandingLevel(one.price, one.quantity, one.order_count, one.updated_block)
        for one in book.depth(side)
    )


def broken_queues(
    number: int, books: Mapping[Address, Book], touched: Iterable[Level]
) -> tuple[BrokenQueue, ...]:
    """The queues of the broken levels among those that block `number` touched."""
    return tuple(
        BrokenQueue(
            level.market,
            level.side,
            level.price,
            number,
            tuple(order.order_id for order in books[level.market].queue(level.side, level.price)),
        )
        for level in touched
        if level.broken and level.order_count <= MOST_WAITING
    )
