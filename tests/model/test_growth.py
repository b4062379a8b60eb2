"""Laws of growth, in counts: what a block costs follows from its events, not from what there is."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from indexer.chain import source
from indexer.domain import events as ev
from indexer.domain.balance import Balance
from indexer.domain.block import Block
from indexer.domain.change import Delta, Deltas
from indexer.domain.deployment import Contracts, Deployment
from indexer.domain.log import Log
from indexer.domain.market import Token
from indexer.domain.order import Order, Side
from indexer.domain.units import Address, Hash, Price, Quantity
from indexer.mirror.audit import MOST_MISSING
from indexer.mirror.book import Book
from indexer.mirror.draft import Draft
from indexer.mirror.fold import Mirror
from indexer.mirror.memory import Memory
from indexer.mirror.whole import (
    EVERY_ORDERS,
    MOST_WAITING,
    broken_queues,
    is_due,
    whole_books,
)
from indexer.store.checkpoints import Checkpoints
from indexer.store.memory import Disk, MemoryDatabase
from tests.model.recorded import GENESIS
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


class Asked(dict[Any, Any]):
    """A dict that counts how often it is asked."""

    asked = 0

    def get(self, key: Any, default: Any = None) -> Any:
        self.asked += 1
        return super().get(key, default)


class Counting(dict[Any, Any]):
    """A dict that counts the values it gives out."""

    given = 0

    def items(self) -> Any:
        for item in super().items():
            self.given += 1
            yield item

    def values(self) -> Any:
        return (value for _, value in self.items())


DEPLOYMENT = Deployment("scalex", 1, Contracts(Address("pm"), Address("bm")), Address("fees"))


def with_markets(count: int, *orders: Order) -> Mirror:
    """So many markets, and in each these orders."""
    made = [replace(MARKET, address=Address(f"m{nth}")) for nth in range(count)]
    here = [replace(one, market=market.address) for market in made for one in orders]
    tokens = [Token(address, "T", "T", 1) for address in (MARKET.base, MARKET.quote)]

    def images(records: list[Any]) -> tuple[Delta[Any], ...]:
        return tuple(Delta(None, one) for one in records)

    mirror = Mirror(DEPLOYMENT, GENESIS)
    mirror.put(Deltas(tokens=images(tokens), markets=images(made), orders=images(here)))
    return mirror


def test_forgetting_does_not_look_at_every_market() -> None:
    mirror = with_markets(50, order(7, "sell", 100, 5))
    mirror.books = books = Asked(mirror.books)
    memory = Memory(mirror)
    for number in range(3):
        books.asked = 0
        memory.forget(Block(number, Hash("0x"), Hash("0x"), 0))
    assert not books.asked, "nothing has happened since"


def test_many_cancels_of_orders_long_gone_follow_their_pointers_once() -> None:
    count = 200
    mirror = with_markets(1, *sells(*[5] * count))
    (book,) = mirror.books.values()
    for one in book.orders.rows.values():
        one.next = one.order_id + 1 if one.order_id < count else 0
    book.orders.rows = rows = Asked(book.orders.rows)
    cancels = [
        ev.OrderCancelled(Hash("t"), 0, book.market, nth, Address("a"), 0, "cancelled")
        for nth in range(1, count)
    ]
    Memory(mirror).recall(cancels, {})
    assert rows.asked < 5 * count


def test_a_foreign_log_is_told_from_ours_without_a_list_of_all_markets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watch = source.Watch(DEPLOYMENT, [Address(f"m{nth}") for nth in range(50)])
    monkeypatch.setattr(source, "of_addresses", None)  # nobody may ask for it
    wanted = [watch.wants(_log(address)) for address in ("m3", "bm", "else")]
    assert wanted == [True, True, False]


def _log(address: str) -> Log:
    return Log(Address(address), [], "0x", Hash("b"), "0x1", Hash("t"), "0x0")


def test_a_large_book_is_looked_at_as_seldom_as_it_is_kept() -> None:
    def looked_at(levels: int) -> int:
        book = Book(MARKET, 10, levels_stay=True)
        for nth in range(1, levels + 1):
            book.append(order(nth, "sell", nth, 5))
        book.levels.rows = rows = Counting(book.levels.rows)
        placed = range(levels + 1, levels + 4 * EVERY_ORDERS)
        whole_books(1, [(book, one) for one in placed if is_due(one)])
        return rows.given

    assert looked_at(4_200) == looked_at(8_400) < 4_200


def test_a_broken_queue_is_kept_while_it_is_short() -> None:
    def kept(waiting: int) -> tuple[int, int]:
        book = spliced(waiting)
        book.walked = 0
        queues = broken_queues(1, {book.market: book}, book.levels.rows.values())
        return sum(len(queue.order_ids) for queue in queues), book.walked

    assert kept(MOST_WAITING - 2) == (MOST_WAITING, MOST_WAITING)  # one and a filled one stay
    assert kept(MOST_WAITING - 1) == (0, 0)


def test_a_checkpoint_waits_for_as_many_events_as_it_has_records() -> None:
    mirror = with_markets(1)
    for nth in range(50):
        key = Address(f"a{nth}"), MARKET.base
        mirror.ledger.balances.put([(key, Balance(*key))])
    checkpoints = Checkpoints(MemoryDatabase(Disk()), every_events=10)
    checkpoints.count(40)
    assert checkpoints.due(mirror, GENESIS) is None
    checkpoints.count(60)
    assert checkpoints.due(mirror, GENESIS) is not None


def test_an_order_that_never_got_what_was_foreseen_is_told_of_in_a_few_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its taker had less than his logs say, so the contract stopped at once."""
    performed: list[object] = []
    perform = Draft.perform

    def counted(self: Draft, *of: Any) -> None:
        performed.append(of)
        perform(self, *of)

    monkeypatch.setattr(Draft, "perform", counted)

    def cost(waiting: int) -> tuple[int, int]:
        performed.clear()
        mirror = with_markets(1)
        (book,) = mirror.books.values()
        for one in sells(*[5] * waiting):
            book.append(replace(one, market=book.market))
        placed = ev.OrderPlaced(
            *(Hash("t"), 0, book.market, waiting + 1, Address("taker"), "buy"),
            *(Price(100), Quantity(5 * waiting), 10**6, "limit", "open"),
        )
        applied = mirror.apply(Block(0, Hash("0x0"), Hash("0x"), 1), [placed])
        assert {one.kind for one in applied.divergences} == {"missing_fill"}
        return len(applied.divergences), len(performed)

    assert cost(1_000) == cost(100) <= (MOST_MISSING, 2 * MOST_MISSING)


def test_a_long_match_is_judged_to_its_end_after_a_disagreement() -> None:
    """However long it is: as much is foreseen as there are logs to come."""
    mirror = with_markets(1)
    (book,) = mirror.books.values()
    count = 5 * MOST_MISSING
    for one in sells(*[5] * count):
        book.append(replace(one, market=book.market))
    here = Hash("t"), 0, book.market
    taker = Address("taker")
    events: list[ev.AnyEvent] = [
        ev.OrderPlaced(
            *(*here, count + 1, taker, "buy", Price(100), Quantity(5 * count)),
            *(10**6, "limit", "open"),
        )
    ]
    for nth in range(1, count + 1):
        sold = Quantity(4 if nth == 2 else 5)
        events.append(
            ev.Traded(
                *(Hash("t"), nth, book.market, taker, count + 1, nth, "buy", 0, Price(100), sold)
            )
        )
    applied = mirror.apply(Block(0, Hash("0x0"), Hash("0x"), 1), events)
    verdicts = [trade.verified for trade in applied.trades]
    assert verdicts == [True, False, *[True] * (count - 2)]
