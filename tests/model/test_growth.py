"""Laws of growth, in counts: what a block costs follows from its events, not from what there is."""

import random
from collections.abc import Iterator

import pytest

from indexer.domain.order import Order, Side
from indexer.domain.units import Price
from indexer.mirror.book import Book
from tests.model.test_rules import MARKET, order, sells

SEED = 11


class Counted(Book):
    """A book that counts how many orders it walks over."""

    walked = 0

    def queue(self, side: Side, price: Price) -> Iterator[Order]:
        for one in super().queue(side, price):
            self.walked += 1
            yield one


def spliced(waiting: int) -> Counted:
    """One long level, whose first order was filled and cancelled after: it is broken."""
    book = Counted(MARKET, 10, levels_stay=True)
    for one in sells(*[5] * (waiting + 3)):
        book.append(one)
    first, second = book.orders.rows[1], book.orders.rows[2]
    for one in (first, second):
        book.fill(one, one.quantity)
        book.unlink(one)
    book.unlink(first)
    assert book.levels.rows["sell", Price(100)].broken
    return book


def test_what_happens_at_a_broken_level_costs_the_same_however_many_wait_there() -> None:
    def walked(waiting: int) -> int:
        book = spliced(waiting)
        book.walked = 0
        for nth in range(20):
            head = book.orders.rows[book.head("sell", Price(100))]
            book.fill(head, head.remaining)
            book.unlink(head)
            book.append(order(waiting + 10 + nth, "sell", 100, 5))
        book.unlink(book.orders.rows[waiting // 2 + 30])  # a cancel from the middle
        return book.walked

    assert walked(1_000) == walked(100)


@pytest.mark.parametrize("seed", range(SEED, SEED + 40))
def test_who_is_in_reach_is_counted_as_a_walk_would(seed: int) -> None:
    """Any orders of one level leave it, some of them twice; `rising` or not."""
    draw = random.Random(seed)
    book = Counted(MARKET, 10, levels_stay=True)
    ids = list(range(1, 200))
    if seed % 4 == 0:
        draw.shuffle(ids)  # no contract does
    for order_id in ids:
        if draw.random() < 0.5 or len(book.orders.rows) < 3:
            book.append(order(order_id, "sell", 100, draw.randrange(1, 9)))
        else:
            known = list(book.orders.rows.values())
            book.unlink(draw.choice(known[-12:] if draw.random() < 0.7 else known))
        level = book.levels.rows.get(("sell", Price(100)))
        reached = list(book.queue("sell", Price(100)))
        queued = [one.order_id for one in book.orders.rows.values() if one.queued]
        assert sorted(one.order_id for one in reached) == sorted(queued), f"seed {seed}"
        if level is not None:
            assert level.quantity == sum(one.remaining for one in reached), f"seed {seed}"
            assert level.order_count == len(reached), f"seed {seed}"
