"""What traders know of the books: folded from logs, enough to cancel and to look at the top."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from eth_hash.auto import keccak

from contracts_test.exchange import BUY, SELL


def _topic(signature: str) -> str:
    return "0x" + keccak(signature.encode()).hex()


PLACED = _topic(
    "OrderPlaced(uint48,address,uint8,uint128,uint128,uint48,bool,uint8,bool,bool,uint8)"
)
MATCHED = _topic("OrderMatched(address,uint48,uint48,uint8,uint48,uint128,uint128)")
UPDATED = _topic("UpdateOrder(uint48,uint48,uint128,uint8)")
CANCELLED = _topic("OrderCancelled(uint48,address,uint48,uint8)")
BOOK_TOPICS = [PLACED, MATCHED, UPDATED, CANCELLED]
_EXPIRED = 5


@dataclass(slots=True)
class Resting:
    """An order that is in the book as far as its owner knows."""

    order_id: int
    owner: bytes
    side: int
    price: int
    remaining: int


class Books:
    """Open limit orders per book, in order of placement."""

    def __init__(self) -> None:
        self._orders: dict[bytes, dict[int, Resting]] = {}
        self.trades = 0

    def learn(self, logs: Iterable[dict[str, Any]]) -> None:
        """Folds logs of the books in order; others are passed over."""
        for log in logs:
            topics = log["topics"]
            book = bytes.fromhex(log["address"][2:])
            data = log["data"][2:]
            if topics[0] == PLACED:
                self._placed(book, topics, data)
            elif topics[0] == MATCHED:
                self.trades += 1
                quantity = int(data[192:256], 16)
                for topic in topics[2:4]:
                    self._filled(book, int(topic, 16), quantity)
            elif topics[0] == CANCELLED or (
                topics[0] == UPDATED and int(data[128:192], 16) == _EXPIRED
            ):
                self._orders.get(book, {}).pop(int(topics[1], 16), None)

    def _placed(self, book: bytes, topics: list[str], data: str) -> None:
        if int(data[192:256], 16):  # market orders never rest
            return
        order = Resting(
            order_id=int(topics[1], 16),
            owner=bytes.fromhex(topics[2][26:]),
            side=int(topics[3], 16),
            price=int(data[0:64], 16),
            remaining=int(data[64:128], 16),
        )
        self._orders.setdefault(book, {})[order.order_id] = order

    def _filled(self, book: bytes, order_id: int, quantity: int) -> None:
        orders = self._orders.get(book, {})
        order = orders.get(order_id)
        if order is None:
            return
        order.remaining -= quantity
        if order.remaining <= 0:
            del orders[order_id]

    def open_orders(self, book: bytes, owner: bytes) -> list[Resting]:
        """An account's open orders in one book, oldest first."""
        return [o for o in self._orders.get(book, {}).values() if o.owner == owner]

    def best(self, book: bytes, side: int) -> Resting | None:
        """The order at the top of a side."""
        orders = [o for o in self._orders.get(book, {}).values() if o.side == side]
        if not orders:
            return None
        pick = max if side == BUY else min
        return pick(orders, key=lambda o: (o.price, -o.order_id if side == BUY else o.order_id))

    def count(self) -> int:
        """Open orders in all books."""
        return sum(map(len, self._orders.values()))


def opposite(side: int) -> int:
    """The other side."""
    return SELL if side == BUY else BUY
