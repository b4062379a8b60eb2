"""What a mirror keeps of its orders, and which of the others it must be given back before it folds.

It keeps what the fold can come upon without being told:

- an order that a taker can reach from the head of its level (`queued`);
- where a splice went wrong (a *broken* level) its tail, and whoever the queue's orders name as the
  one before them: the contract writes to those, dead or not;
- the first order of each book, which proves that its history is whole, and the newest, which tells
  new ids from known ones;
- whatever changed above *finalized*, for it will soon be asked for again.

All others are only ever named by an event: a second cancel, say, of an order that was filled long
ago. `recall` says which, and where their pointers lead: along `next` as far as an order in a queue,
for that is what a splice can bring back into reach, and one step along `prev` from each. A splice
moves pointers only between orders that this reaches, so what suffices before a run of blocks does
so throughout it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from itertools import takewhile
from typing import Any

from indexer.domain import events as ev
from indexer.domain.block import Block
from indexer.domain.change import Applied, Change, Rewound, Touched, Unsaved
from indexer.domain.order import CANDLE_SECONDS, Level, Order, Side
from indexer.domain.units import Address, Price
from indexer.mirror.book import Book
from indexer.mirror.fold import Mirror

OrderKey = tuple[Address, int]
_LevelKey = tuple[Address, Side, Price]


class Memory:
    """Keeps one mirror small. Pure: whoever owns it fetches what it misses (store/recall.py)."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._last: dict[OrderKey, int] = {}
        """Block of the last change, of orders that may be forgotten once it is final."""
        self._idle: deque[tuple[int, list[OrderKey]]] = deque()
        self._pinned: dict[_LevelKey, list[OrderKey]] = {}
        """Orders kept for a broken level's sake: looked at again when it changes."""
        self._unsure: set[_LevelKey] = set()
        """Broken levels that came as images, perhaps without all that they name."""
        self._newest: dict[Address, int] = {}
        """By book, the order that is kept only until a newer one is placed."""
        for address, book in mirror.books.items():
            self._let_go(0, [(address, o.order_id) for o in book.orders.rows.values()])
            self._doubt(book.levels.rows.values())

    # -- before a fold ----------------------------------------------------------------------------

    def recall(
        self, events: Iterable[ev.AnyEvent], stored: Mapping[OrderKey, Order]
    ) -> tuple[list[Order], set[OrderKey]]:
        """Take from `stored` what these events will come upon.

        Returns what was taken, and what is wanted but was not there. Orders that the events
        themselves place are no one's to give.
        """
        search = _Search(stored)
        for key in self._unsure:
            search.pins(self._mirror.books.get(key[0]), key)
        books = self._mirror.books
        for event in events:
            names = _NAMES.get(type(event))
            if names is not None and (book := books.get(event.address)) is not None:
                for order_id in names(event):
                    search.named(book, order_id)
        if search.taken:
            self._let_go(self._mirror.head.number, [(o.market, o.order_id) for o in search.taken])
        if not search.missing:
            self._unsure.clear()
        return search.taken, search.missing

    def lacks(self, events: Iterable[ev.AnyEvent]) -> bool:
        """Whether anything must be brought back for these events."""
        return bool(self.recall(events, {})[1])

    # -- after it ---------------------------------------------------------------------------------

    def note(self, change: Change) -> None:
        """Learn what a step did to the mirror."""
        match change:
            case Applied(block=block, touched=touched):
                self._note(touched, block.number)
            case Rewound(ancestor=ancestor, retracted=retracted):
                for applied in retracted:
                    deltas = applied.deltas
                    orders = [delta.before for delta in deltas.orders if delta.before]
                    levels = [delta.record for delta in deltas.levels]
                    self._note(Touched(orders, levels), ancestor.number)
                    self._doubt(delta.before for delta in deltas.levels if delta.before)
            case _:
                pass

    def take_unsaved(self) -> Unsaved:
        """What final blocks have done to the records since the last call; who takes it saves it."""
        unsaved = self._mirror.take_unsaved()
        self._note(Touched(unsaved.records["orders"]), self._mirror.head.number)
        return unsaved

    def forget(self, anchor: Block) -> None:
        """Let go of what `anchor`, the newest final block, makes needless.

        Whatever changed up to it must be in the store.
        """
        pins: dict[_LevelKey, set[int]] = {}
        while self._idle and self._idle[0][0] <= anchor.number:
            number, keys = self._idle.popleft()
            for key in keys:
                if self._last.get(key) == number:
                    del self._last[key]
                    self._forget(key, pins)
        minute = anchor.timestamp // CANDLE_SECONDS * CANDLE_SECONDS
        candles = self._mirror.candles.rows
        for closed in list(takewhile(lambda key: key[1] < minute, candles)):
            del candles[closed]

    def _note(self, touched: Touched, number: int) -> None:
        orders = touched.orders
        keys = [(order.market, order.order_id) for order in orders if not order.queued]
        if newest := self._newest:
            for order in orders:
                if 0 < newest.get(order.market, 0) < order.order_id:
                    keys.append((order.market, newest.pop(order.market)))
        if self._pinned:
            for level in touched.levels:
                keys += self._pinned.pop((level.market, level.side, level.price), ())
        self._let_go(number, keys)

    def _let_go(self, number: int, keys: list[OrderKey]) -> None:
        if keys:
            self._idle.append((number, keys))
            last = self._last
            for key in keys:
                last[key] = number

    def _doubt(self, levels: Iterable[Level]) -> None:
        self._unsure.update((lv.market, lv.side, lv.price) for lv in levels if lv.broken)

    def _forget(self, key: OrderKey, pins: dict[_LevelKey, set[int]]) -> None:
        """Let go of an order, if nothing speaks against it; a book's newest waits for another."""
        market, order_id = key
        book = self._mirror.books.get(market)
        order = None if book is None else book.orders.rows.get(order_id)
        if book is None or order is None or order.queued or order_id == 1:
            return
        if order_id == book.newest:
            self._newest[market] = order_id
            return
        if order_id in book.orders.unsaved:
            return  # it changed since, and who takes what is unsaved notes it anew
        level = book.levels.get((order.side, order.price))
        if level is not None and level.broken and order.type == "limit":
            where = market, order.side, order.price
            if where not in pins:
                pins[where] = _pins(book, level)
            if order_id in pins[where]:
                self._pinned.setdefault(where, []).append(key)
                return
        del book.orders.rows[order_id]


_NAMES: dict[type[ev.AnyEvent], Callable[[Any], tuple[int, ...]]] = {
    ev.OrderPlaced: lambda event: (event.order_id,),
    ev.StatusAsserted: lambda event: (event.order_id,),
    ev.OrderCancelled: lambda event: (event.order_id,),
    ev.Traded: lambda event: (event.buy_order_id, event.sell_order_id),
}
"""The orders that an event names, by its type; what is not here names none."""


def _pins(book: Book, level: Level) -> set[int]:
    """Whom a level names beside the orders in its queue."""
    return {level.tail, *(order.prev for order in book.queue(level.side, level.price))}


class _Search:
    """What a mirror will come upon, of what it does not hold."""

    def __init__(self, stored: Mapping[OrderKey, Order]) -> None:
        self.taken: list[Order] = []
        self.missing: set[OrderKey] = set()
        self._stored = stored
        self._followed: dict[Address, set[int]] = {}
        """By book, orders whose pointers were followed: many names lead the same way."""

    def pins(self, book: Book | None, key: _LevelKey) -> None:
        """Whoever a broken level names."""
        level = None if book is None else book.levels.get(key[1:])
        if book is not None and level is not None and level.broken:
            for order_id in _pins(book, level):
                self._held(book, order_id)

    def named(self, book: Book, order_id: int) -> None:
        """An order that an event names, and whom its pointers lead to."""
        rows, newest = book.orders.rows, book.newest
        while 0 < order_id <= newest:
            order = rows.get(order_id)
            if order is not None and order.queued:
                return  # whoever it leads to is here, too
            followed = self._followed.setdefault(book.market, set())
            if order_id in followed:
                return
            followed.add(order_id)
            order = order or self._held(book, order_id)
            if order is None:
                return
            self._held(book, order.prev)
            order_id = order.next

    def _held(self, book: Book, order_id: int) -> Order | None:
        """The order, put into the book if it was not there; None if it is not to be had."""
        order = book.orders.rows.get(order_id)
        if order is not None or not order_id:
            return order
        key = book.market, order_id
        order = self._stored.get(key)
        if order is None:
            self.missing.add(key)
            return None
        book.put_order(order_id, order)
        self.taken.append(order)
        return order
