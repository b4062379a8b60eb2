"""The same book for the eye: one list of orders, sorted anew whenever it is looked at."""

from collections.abc import Iterator
from dataclasses import dataclass

from indexer.mirror.matching.terms import Met


@dataclass
class _Order:
    id: str
    account: str | None
    buy: bool
    price: int
    quantity: int


class NaiveBook:
    """Price-time priority at the maker's price, as slowly and plainly as possible."""

    def __init__(self) -> None:
        self._orders: list[_Order] = []  # in the order they came

    def __contains__(self, id_: str) -> bool:
        return any(order.id == id_ for order in self._orders)

    def place(
        self, id_: str, account: str | None, buy: bool, price: int, quantity: int
    ) -> tuple[Met, int]:
        met, remaining = self.take(account, buy, price, quantity)
        if remaining:
            self._orders.append(_Order(id_, account, buy, price, remaining))
        return met, remaining

    def take(
        self, account: str | None, buy: bool, price: int | None, quantity: int
    ) -> tuple[Met, int]:
        met: list[tuple[str, int, int]] = []
        for maker in self._within(not buy, price):
            if quantity == 0:
                break
            if account is not None and maker.account == account:
                self._orders.remove(maker)
                met.append((maker.id, maker.price, 0))
                continue
            filled = min(quantity, maker.quantity)
            quantity -= filled
            maker.quantity -= filled
            met.append((maker.id, maker.price, filled))
            if maker.quantity == 0:
                self._orders.remove(maker)
        return met, quantity

    def cancel(self, id_: str, quantity: int | None = None) -> int | None:
        for order in self._orders:
            if order.id == id_:
                had = order.quantity
                order.quantity -= had if quantity is None else min(had, quantity)
                if order.quantity == 0:
                    self._orders.remove(order)
                return had
        return None

    def takes(self, account: str | None, buy: bool, price: int | None, most: int) -> int:
        makers = self._within(not buy, price)
        others = [o.quantity for o in makers if account is None or o.account != account]
        return min(sum(others), most)

    def meets(self, buy: bool, price: int | None) -> bool:
        return bool(self._within(not buy, price))

    def depth(self, levels: int) -> tuple[list[list[int]], list[list[int]]]:
        return self._depth(True, levels), self._depth(False, levels)

    def queue(self, buy: bool) -> Iterator[tuple[str, str | None, int, int]]:
        for order in self._side(buy):
            yield order.id, order.account, order.price, order.quantity

    def _side(self, buy: bool) -> list[_Order]:
        """Best price first; sorting is stable, so the earlier order is first at its price."""
        ours = [order for order in self._orders if order.buy == buy]
        return sorted(ours, key=lambda order: -order.price if buy else order.price)

    def _within(self, buy: bool, limit: int | None) -> list[_Order]:
        """The orders of a side that somebody with this limit would trade with."""
        side = self._side(buy)
        if limit is None:
            return side
        return [o for o in side if (o.price >= limit if buy else o.price <= limit)]

    def _depth(self, buy: bool, levels: int) -> list[list[int]]:
        totals: dict[int, int] = {}
        for order in self._side(buy):
            totals[order.price] = totals.get(order.price, 0) + order.quantity
        return [[price, quantity] for price, quantity in totals.items()][:levels]
