"""The book that ships behind `tidebook match`: a dict of levels, and their prices best last.

A price is kept as a *key* that grows towards the better end of its side (the price itself for bids,
its negative for asks), so that both sides are one piece of code and the best level leaves its list
at the cheap end. A cancelled order stays in its queue as a dead one until the head passes it, or
until the dead are most of the queue.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator

from indexer.mirror.matching.terms import Met

MOST_DEAD = 32
"""Dead orders a queue keeps at least before it is swept; above it, as many as live ones."""

_ANY = -(1 << 256)  # worse than every key: what a market order accepts


class _Order:
    __slots__ = ("account", "buy", "id", "key", "level", "quantity")

    def __init__(
        self, id_: str, account: str | None, buy: bool, key: int, quantity: int, level: "_Level"
    ) -> None:
        self.id = id_
        self.account = account
        self.buy = buy
        self.key = key
        self.quantity = quantity  # 0: dead
        self.level = level


class _Level:
    __slots__ = ("live", "quantity", "queue")

    def __init__(self) -> None:
        self.queue: deque[_Order] = deque()
        self.quantity = 0
        self.live = 0


class _Side:
    __slots__ = ("keys", "levels")

    def __init__(self) -> None:
        self.keys: list[int] = []
        self.levels: dict[int, _Level] = {}

    def drop(self, key: int) -> None:
        del self.keys[bisect_left(self.keys, key)]
        del self.levels[key]


class FastBook:
    """Price-time priority at the maker's price. Ids of resting orders are unique."""

    def __init__(self) -> None:
        self._orders: dict[str, _Order] = {}
        self._bids = _Side()
        self._asks = _Side()

    def __contains__(self, id_: str) -> bool:
        return id_ in self._orders

    def __len__(self) -> int:
        return len(self._orders)

    def place(
        self, id_: str, account: str | None, buy: bool, price: int, quantity: int
    ) -> tuple[Met, int]:
        """Match a limit order and let what remains of it rest."""
        if buy:
            side, keys, key = self._bids, self._asks.keys, price
        else:
            side, keys, key = self._asks, self._bids.keys, -price
        met: Met = ()
        if keys and keys[-1] >= -key:
            met, quantity = self._take(account, buy, -key, quantity)
            if not quantity:
                return met, 0
        level = side.levels.get(key)
        if level is None:
            level = side.levels[key] = _Level()
            insort(side.keys, key)
        order = self._orders[id_] = _Order(id_, account, buy, key, quantity, level)
        level.queue.append(order)
        level.quantity += quantity
        level.live += 1
        return met, quantity

    def take(
        self, account: str | None, buy: bool, price: int | None, quantity: int
    ) -> tuple[Met, int]:
        """Match an order that never rests; without a price at any price."""
        if price is None:
            return self._take(account, buy, _ANY, quantity)
        return self._take(account, buy, -price if buy else price, quantity)

    def cancel(self, id_: str, quantity: int | None = None) -> int | None:
        """Take an order out, or only `quantity` of it; what it still had, None if it is unknown.

        An order that keeps a part keeps its place.
        """
        order = self._orders.get(id_)
        if order is None:
            return None
        had, level = order.quantity, order.level
        if quantity is not None and quantity < had:
            order.quantity = had - quantity
            level.quantity -= quantity
            return had
        del self._orders[id_]
        order.quantity = 0
        level.quantity -= had
        level.live -= 1
        if not level.live:
            (self._bids if order.buy else self._asks).drop(order.key)
        elif len(level.queue) > 2 * level.live + MOST_DEAD:
            level.queue = deque(o for o in level.queue if o.quantity)
        return had

    def takes(self, account: str | None, buy: bool, price: int | None, most: int) -> int:
        """How much of `most` an order would get, were it sent now. Nothing changes."""
        side = self._asks if buy else self._bids
        floor = _ANY if price is None else -price if buy else price
        found = 0
        for key in reversed(side.keys):
            if found >= most or key < floor:
                break
            level = side.levels[key]
            found += level.quantity
            if account is not None:
                found -= sum(o.quantity for o in level.queue if o.account == account)
        return min(found, most)

    def meets(self, buy: bool, price: int | None) -> bool:
        """Whether any order, whoever's, rests where this one could trade."""
        keys = (self._asks if buy else self._bids).keys
        return bool(keys) and (price is None or keys[-1] >= (-price if buy else price))

    def depth(self, levels: int) -> tuple[list[list[int]], list[list[int]]]:
        """[price, quantity] of the best levels of bids and asks, best first."""
        bids, asks = self._bids, self._asks
        return (
            [[key, bids.levels[key].quantity] for key in bids.keys[: -levels - 1 : -1]],
            [[-key, asks.levels[key].quantity] for key in asks.keys[: -levels - 1 : -1]],
        )

    def queue(self, buy: bool) -> Iterator[tuple[str, str | None, int, int]]:
        """(id, account, price, quantity) of one side's orders in priority."""
        side = self._bids if buy else self._asks
        for key in reversed(side.keys):
            for order in side.levels[key].queue:
                if order.quantity:
                    yield order.id, order.account, abs(key), order.quantity

    def _take(self, account: str | None, buy: bool, floor: int, remaining: int) -> tuple[Met, int]:
        side = self._asks if buy else self._bids
        keys, levels, orders = side.keys, side.levels, self._orders
        met: list[tuple[str, int, int]] = []
        while remaining and keys and keys[-1] >= floor:
            key = keys[-1]
            level = levels[key]
            queue, price = level.queue, -key if buy else key
            while remaining and level.live:
                maker = queue[0]
                quantity = maker.quantity
                if quantity > remaining and (account is None or maker.account != account):
                    maker.quantity = quantity - remaining
                    level.quantity -= remaining
                    met.append((maker.id, price, remaining))
                    return met, 0
                queue.popleft()
                if quantity:
                    level.live -= 1
                    level.quantity -= quantity
                    del orders[maker.id]
                    if account is None or maker.account != account:
                        remaining -= quantity
                        met.append((maker.id, price, quantity))
                    else:  # its own order goes without a fill
                        maker.quantity = 0
                        met.append((maker.id, price, 0))
            if not level.live:
                keys.pop()
                del levels[key]
        return met, remaining
