"""One market's orders and FIFO queues, faults included.

The contracts keep each price level as a doubly linked list threaded through the orders. Unlinking
neither checks membership nor clears pointers, so cancelling an order that already left its queue
splices live orders away (and sometimes dead ones back in). A textbook queue diverges from the chain
at the first such cancel; this copy of the pointer operations does not.

Every level also knows what a taker can reach from its head. That is counted as it changes; only a
splice that moves more than one order into or out of reach is walked. Once one was suspect the level
is `broken`, until its list is empty.

Each side's price tree is part of the book: the contracts leave emptied levels in it, and what they
match next depends on them. A level's `in_tree` is the record, `bids` and `asks` are its index.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator

from indexer.domain.market import Market
from indexer.domain.order import Level, Order, Side
from indexer.domain.units import Price, Quantity
from indexer.mirror.records import Records

LevelKey = tuple[Side, Price]

_NONE = Price(0)
_NOBODY: tuple[int, ...] = ()


class Book:
    """The book of one market. A level's `updated_*` are those of the order that touched it last."""

    def __init__(
        self, market: Market, base_unit: int, *, levels_stay: bool, final: bool = False
    ) -> None:
        self.market = market.address
        self.base = market.base
        self.quote = market.quote
        self.base_unit = base_unit
        self.levels_stay = levels_stay
        """An emptied level stays in the tree until it is cleaned."""
        self.orders: Records[int, Order] = Records(final=final)
        self.levels: Records[LevelKey, Level] = Records(final=final, told=True)
        self.bids: list[Price] = []
        self.asks: list[Price] = []
        """The trees' prices, ascending."""
        self.newest = 0
        """The highest order id so far. Contracts count up: there are no more orders than that."""
        self.rising = True
        """Each order's `next` was placed later, as it must be: no list runs in a circle."""

    # -- reading ---------------------------------------------------------------------------------

    def queue(self, side: Side, price: Price) -> Iterator[Order]:
        """The orders reachable from a level's head, in the order a taker meets them.

        Spliced lists can run in a circle; the walk ends where it would meet an order again.
        """
        level = self.levels.get((side, price))
        seen: set[int] = set()
        order_id = level.head if level else 0
        while order_id and order_id not in seen:
            seen.add(order_id)
            order = self.orders.rows[order_id]
            yield order
            order_id = order.next

    def depth(self, side: Side) -> list[Level]:
        """Levels with something to take, best first."""
        levels = [lv for (s, _), lv in self.levels.rows.items() if s == side and lv.quantity > 0]
        return sorted(levels, key=lambda lv: lv.price, reverse=side == "buy")

    def head(self, side: Side, price: Price) -> int:
        """The first order of a level's queue, 0 if it has none."""
        level = self.levels.rows.get((side, price))
        return level.head if level else 0

    def best(self, side: Side) -> Price:
        """The best price in a side's tree, stale levels included; 0 if it is empty."""
        if side == "buy":
            return self.bids[-1] if self.bids else _NONE
        return self.asks[0] if self.asks else _NONE

    def meets(self, taker: Order) -> bool:
        """Whether a limit taker may trade at the best price of the other side's tree."""
        if taker.side == "buy":
            return bool(self.asks) and self.asks[0] <= taker.price
        return bool(self.bids) and self.bids[-1] >= taker.price

    def worse(self, side: Side, price: Price) -> Price:
        """The tree's next worse price; 0 if `price` is the last one, or not in the tree."""
        tree = self.bids if side == "buy" else self.asks
        at = bisect_left(tree, price)
        if at == len(tree) or tree[at] != price:
            return _NONE
        at += -1 if side == "buy" else 1
        return tree[at] if 0 <= at < len(tree) else _NONE

    def is_stale(self, side: Side, price: Price) -> bool:
        """In the tree without an order."""
        level = self.levels.rows.get((side, price))
        return level is not None and level.in_tree and level.count == 0

    # -- the contracts' operations ---------------------------------------------------------------

    def append(self, order: Order) -> None:
        """Put a new limit order at the tail of its level."""
        order_id, quantity = order.order_id, order.quantity
        key = (order.side, order.price)
        level = self.levels.find(key)
        if level is None:
            level = self.levels.add(key, Level(self.market, order.side, order.price))
        head, tail = level.head, level.tail
        if (head == 0) != (tail == 0):
            level.broken = True
        if not level.in_tree:
            level.in_tree = True
            insort(self.bids if order.side == "buy" else self.asks, order.price)
        self.orders.add(order_id, order)
        reached, cut = True, _NOBODY
        if head == 0:
            level.head = order_id
        else:
            reached = False
            if tail:  # with a tail of 0 the contract writes to a phantom order: lost
                last = self.orders.touch(tail)
                reached = last.queued
                if last.next and reached:
                    cut = self._reached(level)
                self._link(last, order_id)
            order.prev = tail
        level.tail = order_id
        level.count += 1
        level.volume += quantity
        order.queued = reached
        if reached:
            level.quantity += quantity
            level.order_count += 1
        else:
            settle_status(order)
        self._stamp(level, order)
        if cut:
            self._walk(level, cut)

    def fill(self, order: Order, quantity: Quantity) -> None:
        """Take `quantity` from a limit order, and from its level."""
        order.filled += quantity
        level = self.levels.find((order.side, order.price))
        if level is None:
            return  # nobody queues where it is said to: the audit has told
        level.volume -= quantity
        if order.queued:
            level.quantity -= quantity
        self._stamp(level, order)

    def unlink(self, order: Order) -> bool:
        """Take an order out of its level's list, exactly as wrongly as the contract does.

        False, with the lists as they were, if the level is empty: the contract would have reverted.
        """
        key = (order.side, order.price)
        level = self.levels.rows.get(key)
        if level is None or level.count == 0:
            return False
        self.levels.touch(key)
        following, preceding = order.next, order.prev
        source = self.orders.touch(preceding) if preceding else None
        leaves, cut = True, _NOBODY
        if not order.queued or level.broken:
            level.broken = True
            target = level.head if source is None else source.next
            moves = (source is None or source.queued) and target != following
            leaves = order.queued and moves
            if moves and not (leaves and target == order.order_id and self.rising):
                cut = self._reached(level) or (order.order_id,)
        if source is not None:
            self._link(source, following)
        else:
            level.head = following
        if following:
            self.orders.touch(following).prev = preceding
        else:
            level.tail = preceding
        remaining = order.remaining
        level.count -= 1
        level.volume -= remaining
        if leaves:
            order.queued = False
            level.quantity -= remaining
            level.order_count -= 1
        self._stamp(level, order)
        if cut:
            self._walk(level, cut)
        if level.broken:
            level.broken = bool(level.head or level.tail)
        if level.count == 0 and not self.levels_stay:
            self._leave_tree(level)
        self._drop_if_blank(level)
        return True

    def clean(self, side: Side, price: Price, by: Order) -> None:
        """Take a level out of the tree if it is stale; `by` is the order that found it."""
        if self.is_stale(side, price):
            level = self.levels.touch((side, price))
            self._leave_tree(level)
            self._stamp(level, by)
            self._drop_if_blank(level)

    def _leave_tree(self, level: Level) -> None:
        if level.in_tree:
            level.in_tree = False
            self._unindex(level.side, level.price)

    def _drop_if_blank(self, level: Level) -> None:
        if not (level.in_tree or level.head or level.tail or level.count or level.volume):
            assert not level.order_count, f"{level} went with orders in reach"
            assert not level.quantity, f"{level} went with something to take"
            self.levels.remove((level.side, level.price))

    # -- images ----------------------------------------------------------------------------------

    def put_order(self, order_id: int, image: Order | None) -> None:
        """Set an order outside any block (loading, rewinding); None: it was never placed."""
        self.orders.put([(order_id, image)])
        if image is None:
            self.newest = min(self.newest, order_id - 1)
        else:
            self.newest = max(self.newest, order_id)
            if 0 < image.next <= order_id:
                self.rising = False

    def put_levels(self, images: Iterable[tuple[LevelKey, Level | None]]) -> None:
        """Set levels outside any block (loading, rewinding), and the index with them."""
        for key, image in images:
            before = self.levels.rows.get(key)
            was, will = before is not None and before.in_tree, image is not None and image.in_tree
            self.levels.put([(key, image)])
            if will and not was:
                insort(self.bids if key[0] == "buy" else self.asks, key[1])
            elif was and not will:
                self._unindex(*key)

    def _unindex(self, side: Side, price: Price) -> None:
        tree = self.bids if side == "buy" else self.asks
        at = bisect_left(tree, price)
        assert tree[at] == price, f"{side} {price} is not in the tree's index"
        del tree[at]

    # -- reachability ----------------------------------------------------------------------------

    def _link(self, order: Order, following: int) -> None:
        if 0 < following <= order.order_id:
            self.rising = False
        order.next = following

    def _reached(self, level: Level) -> tuple[int, ...]:
        return tuple(order.order_id for order in self.queue(level.side, level.price))

    def _walk(self, level: Level, before: tuple[int, ...]) -> None:
        """Count anew what is reachable; `before` lists who was."""
        reached = list(self.queue(level.side, level.price))
        ids = {order.order_id for order in reached}
        for order_id in before:
            if order_id not in ids and self.orders.rows[order_id].queued:
                self._set_queued(self.orders.touch(order_id), False, level)
        for order in reached:
            if not order.queued:
                self._set_queued(self.orders.touch(order.order_id), True, level)
        level.quantity = Quantity(sum(order.remaining for order in reached))
        level.order_count = len(reached)

    def _set_queued(self, order: Order, queued: bool, level: Level) -> None:
        order.queued = queued
        order.updated_block = level.updated_block
        order.updated_log_index = level.updated_log_index
        settle_status(order)

    @staticmethod
    def _stamp(level: Level, order: Order) -> None:
        level.updated_block = order.updated_block
        level.updated_log_index = order.updated_log_index


def settle_status(order: Order) -> None:
    """Derive a limit order's status; what the contract stores of it is unreliable.

    Cancelled and expired are final, also for an order that was already filled.
    """
    if order.status in ("cancelled", "expired"):
        return
    if order.filled >= order.quantity:
        order.status = "filled"
    elif not order.queued:
        order.status = "orphaned"
    else:
        order.status = "partially_filled" if order.filled else "open"
