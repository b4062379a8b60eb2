"""GTX ("ancestor"): rules A1 to A3, faults included."""

from indexer.domain.effect import Cancel, Close, Expire, Fill, Revert
from indexer.domain.market import Market
from indexer.domain.order import Order
from indexer.mirror.rules.terms import Clean, Run, View, crosses, opposite

LEVELS_STAY = True
REFUNDS = False
RELEASES_EXPIRED = False
CUTS_MARKET_ORDERS = False  # A2

IDLE_PASSES = 3
"""Passes without any effect after which the contract would run round for ever (A3)."""


def match(view: View, taker: Order, now: int, lot: int) -> Run:
    """Limit (A1) and market (A2) orders alike; balances never decide."""
    side, limit = opposite(taker.side), taker.type == "limit"
    if not limit and not view.book.best(side):  # A2
        yield Revert("OrderHasNoLiquidity")
        return
    if limit and taker.time_in_force == "post_only":  # I5
        if view.book.meets(taker):
            yield Revert("PostOnlyWouldTake")
        return
    rem = taker.quantity
    last = last_rem = idle = 0
    while rem > 0:
        price = view.book.best(side)
        if not price or (limit and not crosses(taker, price)):  # A3.1
            break
        if price == last and rem == last_rem:  # A3.2: stuck, so one worse, limit or not
            price = view.book.worse(side, price)
            if not price:
                break
        last, last_rem = price, rem  # A3.3
        idle += 1
        cur, steps, most = view.book.head(side, price), 0, view.book.newest
        while cur and rem > 0 and steps <= most:  # A3.4
            maker = view.book.orders.rows[cur]
            after = maker.next
            idle = 0
            steps += 1
            if maker.expiry < now:  # a
                yield Expire(cur)
            elif maker.account == taker.account:  # b
                yield Cancel(cur)
            else:  # c
                quantity = min(rem, maker.quantity - maker.filled)
                rem -= quantity
                yield Fill(cur, price, quantity)
            cur = after
        if view.book.is_stale(side, price):  # A3.5
            idle = 0
            yield Clean(side, price)
        if idle == IDLE_PASSES or steps > most:
            yield Revert("out of gas: the queue never ends")
            return
    if limit and not rem:  # A1
        yield Close(taker.order_id, taker.quantity, "filled")
    elif limit and taker.time_in_force == "fok":  # never in an event, which does not tell of it
        yield Revert("FillOrKillNotFulfilled")
    elif limit and taker.time_in_force == "ioc":
        yield Cancel(taker.order_id)


def refuses(taker: Order, market: Market, base_unit: int, now: int) -> str | None:
    """Zero quantity or price; its trading rules are in no event."""
    if taker.quantity <= 0:
        return "InvalidQuantity"
    return "InvalidPrice" if taker.type == "limit" and taker.price <= 0 else None
