"""ScaleX ("newest"): rules N1 to N4, dust fills and dead ends included."""

from collections.abc import Generator

from indexer.domain.effect import Cancel, Close, Effect, Expire, Fill, Revert
from indexer.domain.market import Market
from indexer.domain.order import Order, OrderStatus
from indexer.domain.units import Price, Quantity, quote_amount
from indexer.mirror.rules.terms import Clean, Run, View, crosses, opposite

LEVELS_STAY = True
REFUNDS = False
RELEASES_EXPIRED = False
CUTS_MARKET_ORDERS = True  # N3.2c, N4.2d

PASS_CAP = 10
"""A pass that is numbered higher is an order's last one: at most eleven (N3.5, N4.5)."""


def match(view: View, taker: Order, now: int, lot: int) -> Run:
    if taker.type == "limit":
        return _limit(view, taker, now)
    return _market_buy(view, taker, now) if taker.side == "buy" else _market_sell(view, taker, now)


def _limit(view: View, taker: Order, now: int) -> Run:
    """N1."""
    filled = 0
    if taker.time_in_force != "post_only":
        filled = yield from _take(view, taker, now)
    if filled == taker.quantity:
        yield Close(taker.order_id, taker.quantity, "filled")
    elif taker.time_in_force == "fok":
        yield Revert("FillOrKillNotFulfilled")
    elif taker.time_in_force == "ioc":
        yield Cancel(taker.order_id)
    bid, ask = view.book.best("buy"), view.book.best("sell")  # of the trees, stale levels included
    if bid and ask and bid >= ask:
        yield Revert("NegativeSpreadCreated")


def _market_sell(view: View, taker: Order, now: int) -> Run:
    """N2."""
    if not view.book.best("buy"):
        yield Revert("OrderHasNoLiquidity")
        return
    filled = yield from _take(view, taker, now)
    status: OrderStatus = "partially_filled" if filled else "expired"
    if filled == taker.quantity:
        status = "filled"
    yield Close(taker.order_id, Quantity(filled), status)


def _take(view: View, taker: Order, now: int) -> Generator[Effect | Clean, None, int]:
    """N3: a quantity in base. Returns what was filled."""
    side, limit = opposite(taker.side), taker.type == "limit"
    rem = taker.quantity
    filled = passes = 0
    while rem > 0:
        passes += 1
        before = rem
        price = view.book.best(side)
        if not price or (limit and not crosses(taker, price)):  # N3.1
            break
        cur, steps, most = view.book.head(side, price), 0, view.book.newest
        while cur and rem > 0 and steps <= most:  # N3.2
            maker = view.book.orders.rows[cur]
            after = maker.next
            steps += 1
            if maker.expiry < now:  # a
                yield Expire(cur)
            elif maker.account != taker.account:  # b: the taker's own are passed over
                quantity = min(rem, maker.quantity - maker.filled)
                if not limit and view.funds() < quantity:  # c: short of base, so everything ends
                    rem = Quantity(0)
                    break
                rem -= quantity
                filled += quantity
                yield Fill(cur, price, Quantity(quantity))
            cur = after
        if view.book.is_stale(side, price):  # N3.3
            yield Clean(side, price)
        if rem == before or passes > PASS_CAP:  # N3.4, N3.5
            break
    return filled


def _market_buy(view: View, taker: Order, now: int) -> Run:
    """N4: the quantity is in quote, and its remainders roll over the makers as dust."""
    if not view.book.best("sell"):
        yield Revert("OrderHasNoLiquidity")
        return
    left = int(taker.quantity)
    bought = passes = 0
    skip = Price(0)
    while left > 0:
        passes += 1
        before = left
        price = view.book.worse("sell", skip) if skip else view.book.best("sell")  # N4.1
        if not price:
            break
        others, left, got = yield from _buy_level(view, taker, now, price, left)
        bought += got
        if view.book.is_stale("sell", price):  # N4.3
            yield Clean("sell", price)
        if left == before:  # N4.4
            if others:
                break
            skip = price
        if passes > PASS_CAP:  # N4.5
            break
    yield Close(taker.order_id, Quantity(bought), "filled" if bought else "expired")


def _buy_level(
    view: View, taker: Order, now: int, price: Price, left: int
) -> Generator[Effect | Clean, None, tuple[bool, int, int]]:
    """N4.2: one pass over a level. Returns (met others' orders, quote left, base bought)."""
    unit = view.book.base_unit
    others, bought, steps, most = False, 0, 0, view.book.newest
    cur = view.book.head("sell", price)
    while cur and left > 0 and steps <= most:
        maker = view.book.orders.rows[cur]
        steps += 1
        if maker.expiry < now:  # a
            yield Expire(cur)
        elif maker.account != taker.account:  # b: the taker's own are passed over
            others = True
            quantity = min(maker.quantity - maker.filled, left * unit // price)  # c
            if not quantity:
                break
            cost = quantity * price // unit
            available = max(0, view.funds())
            if available < cost:  # d
                quantity = available * unit // price
                if not quantity:
                    break
                cost = quantity * price // unit
            left -= cost
            bought += quantity
            yield Fill(cur, price, Quantity(quantity))  # e: even if the cost is 0
        cur = maker.next
    return others, left, bought


def refuses(taker: Order, market: Market, base_unit: int, now: int) -> str | None:
    """Tick and least sizes; lots are not enforced."""
    in_quote = taker.type == "market" and taker.side == "buy"
    if taker.quantity <= 0:
        return "InvalidQuantity"
    if taker.type == "limit" and (taker.price <= 0 or taker.price % (market.tick_size or 1)):
        return "InvalidPriceIncrement"
    if not in_quote and taker.quantity < (market.min_quantity or 0):
        return "OrderTooSmall"
    value = taker.quantity if in_quote else quote_amount(taker.quantity, taker.price, base_unit)
    sized = in_quote or taker.type == "limit"
    return "OrderTooSmall" if sized and value < (market.min_quote_amount or 0) else None
