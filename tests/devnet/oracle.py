"""RULES.md once more, as slow and plain as possible: commands in, logs out.

Written from the page, not from the Solidity; the property test holds the two equal.
"""

from __future__ import annotations

from dataclasses import dataclass, field

BUY, SELL = 0, 1
GTC, IOC, FOK, POST_ONLY = range(4)
OPEN, PARTIALLY_FILLED, FILLED, CANCELLED, _, EXPIRED = range(6)
LIFETIME_S = 7_776_000
Said = tuple[str | int, ...]


class Refused(Exception):
    """The transaction would revert."""


@dataclass
class Order:
    """A limit order, quantities in lots and prices in ticks."""

    id: int
    owner: int
    side: int
    tick: int
    lots: int
    filled: int
    expiry: int
    status: int = OPEN

    @property
    def rest(self) -> int:
        """Unfilled lots."""
        return self.lots - self.filled


@dataclass
class Oracle:
    """One market and its accounts; addresses and tokens are plain integers."""

    book: int
    base: int
    quote: int
    lot: int
    tick: int
    unit: int
    min_order: int
    fee_receiver: int
    maker_rate: int
    taker_rate: int
    available: dict[tuple[int, int], int] = field(default_factory=dict)
    locked: dict[tuple[int, int], int] = field(default_factory=dict)
    orders: dict[int, Order] = field(default_factory=dict)
    resting: list[Order] = field(default_factory=list)
    next_id: int = 1

    def queue(self, side: int) -> list[Order]:
        """A side's orders in priority."""
        sign = -1 if side == BUY else 1
        mine = [o for o in self.resting if o.side == side]
        return sorted(mine, key=lambda o: sign * o.tick)  # stable: time decides within a level

    def place_limit(
        self, who: int, side: int, tick: int, lots: int, force: int, expiry: int, now: int
    ) -> list[Said]:
        """Section 3.1."""
        expiry = expiry or now + LIFETIME_S
        if expiry < now or not 0 < tick < 2**32 or not 0 < lots < 2**64:
            raise Refused
        value = lots * tick * self.unit
        if value < self.min_order:
            raise Refused
        order = Order(self.next_id, who, side, tick, lots, 0, expiry)
        token, amount = self._lock_of(order)
        if self.available.get((who, token), 0) < amount:
            raise Refused
        said: list[Said] = [("Lock", who, token, amount)]
        self._move(who, token, -amount, amount)
        self.next_id += 1
        said.append(
            (
                *("OrderPlaced", order.id, who, side, tick * self.tick, lots * self.lot),
                *(expiry, 0, OPEN, 0, 0, force),
            )
        )
        self.orders[order.id] = order
        self._match(order, now, said, post_only=force == POST_ONLY, budget=None)
        if order.rest == 0:
            order.status = FILLED
            said.append(self._update(order, now))
        elif force == FOK:
            raise Refused
        elif force == IOC:
            self._release(order, CANCELLED, now, said)
        else:
            order.status = PARTIALLY_FILLED if order.filled else OPEN
            self.resting.append(order)
        return said

    def place_market(self, who: int, side: int, lots: int, force: int, now: int) -> list[Said]:
        """Section 3.2."""
        if not self.queue(1 - side):
            raise Refused
        order = Order(self.next_id, who, side, 0, lots, 0, now)
        self.next_id += 1
        token = self.quote if side == BUY else self.base
        said: list[Said] = [
            ("OrderPlaced", order.id, who, side, 0, lots * self.lot, now, 1, OPEN, 0, 0, force)
        ]
        self._match(order, now, said, budget=self.available.get((who, token), 0), post_only=False)
        if force == FOK and order.rest:
            raise Refused
        order.status = FILLED if not order.rest else PARTIALLY_FILLED if order.filled else EXPIRED
        said.append(self._update(order, now))
        return said

    def cancel(self, who: int, order_id: int, now: int) -> list[Said]:
        """Section 3.3."""
        order = self.orders.get(order_id)
        if order is None or order.owner != who or order not in self.resting:
            raise Refused
        said: list[Said] = []
        self._release(order, CANCELLED, now, said)
        return said

    def expire(self, order_id: int, now: int) -> list[Said]:
        """Section 3.4."""
        order = self.orders.get(order_id)
        if order is None or order not in self.resting or order.expiry >= now:
            raise Refused
        said: list[Said] = []
        self._release(order, EXPIRED, now, said)
        return said

    def _match(
        self, taker: Order, now: int, said: list[Said], *, post_only: bool, budget: int | None
    ) -> None:
        for maker in self.queue(1 - taker.side):
            if taker.rest == 0:
                return
            if taker.tick:
                worse = maker.tick > taker.tick if taker.side == BUY else maker.tick < taker.tick
                if worse:
                    return
            if maker.expiry < now:
                self._release(maker, EXPIRED, now, said)
            elif post_only:
                raise Refused
            elif maker.owner == taker.owner:
                self._release(maker, CANCELLED, now, said)
            else:
                lots = min(taker.rest, maker.rest)
                if budget is not None:
                    cost = maker.tick * self.unit if taker.side == BUY else self.lot
                    lots = min(lots, budget // cost)
                    budget -= lots * cost
                if lots == 0:
                    return
                self._fill(taker, maker, lots, now, said)
                if maker.rest and taker.rest:
                    return  # only a spent budget leaves both unfilled

    def _fill(self, taker: Order, maker: Order, lots: int, now: int, said: list[Said]) -> None:
        in_base, in_quote = lots * self.lot, lots * maker.tick * self.unit
        buys = taker.side == BUY
        spend, got = (self.quote, self.base) if buys else (self.base, self.quote)
        paid, received = (in_quote, in_base) if buys else (in_base, in_quote)
        if taker.tick:
            unlocked = lots * taker.tick * self.unit if buys else in_base
            said.append(("Unlock", taker.owner, spend, unlocked))
            self._move(taker.owner, spend, unlocked, -unlocked)
        fee = paid * self.maker_rate // 1000
        self._move(taker.owner, spend, -paid, 0)
        self._move(maker.owner, spend, paid - fee, 0)
        self._move(self.fee_receiver, spend, fee, 0)
        said.append(("TransferFrom", self.book, taker.owner, maker.owner, spend, paid, fee))
        fee = received * self.taker_rate // 1000
        self._move(maker.owner, got, 0, -received)
        self._move(taker.owner, got, received - fee, 0)
        self._move(self.fee_receiver, got, fee, 0)
        said.append(("TransferLockedFrom", self.book, maker.owner, taker.owner, got, received, fee))
        taker.filled += lots
        maker.filled += lots
        maker.status = PARTIALLY_FILLED if maker.rest else FILLED
        if not maker.rest:
            self.resting.remove(maker)
        said.append(self._update(maker, now))
        ids = (taker.id, maker.id) if buys else (maker.id, taker.id)
        said.append(
            ("OrderMatched", taker.owner, *ids, taker.side, now, maker.tick * self.tick, in_base)
        )

    def _release(self, order: Order, status: int, now: int, said: list[Said]) -> None:
        if order in self.resting:
            self.resting.remove(order)
        order.status = status
        if status == CANCELLED:
            said.append(("OrderCancelled", order.id, order.owner, now, CANCELLED))
        else:
            said.append(self._update(order, now))
        token, amount = self._lock_of(order)
        said.append(("Unlock", order.owner, token, amount))
        self._move(order.owner, token, amount, -amount)

    def _lock_of(self, order: Order) -> tuple[int, int]:
        if order.side == BUY:
            return self.quote, order.rest * order.tick * self.unit
        return self.base, order.rest * self.lot

    def _update(self, order: Order, now: int) -> Said:
        return ("UpdateOrder", order.id, now, order.filled * self.lot, order.status)

    def _move(self, who: int, token: int, available: int, locked: int) -> None:
        key = (who, token)
        self.available[key] = self.available.get(key, 0) + available
        self.locked[key] = self.locked.get(key, 0) + locked
        assert self.available[key] >= 0
        assert self.locked[key] >= 0
