"""Our own contracts: price-time priority, by the numbers of contracts_test/RULES.md."""

from indexer.domain.effect import Cancel, Close, Expire, Fill, Revert
from indexer.domain.market import Market
from indexer.domain.order import Order, OrderStatus
from indexer.domain.units import Quantity, quote_amount
from indexer.mirror.rules.terms import Run, View, crosses, opposite

LEVELS_STAY = False  # 2.1
REFUNDS = True  # 5.1
RELEASES_EXPIRED = True  # 4.4a
CUTS_MARKET_ORDERS = True  # 4.4d


def match(view: View, taker: Order, now: int, lot: int) -> Run:
    """Section 4, and the closing of 3.1 and 3.2."""
    side, limit = opposite(taker.side), taker.type == "limit"
    if not limit and not view.book.best(side):  # 3.2
        yield Revert("NoLiquidity")
        return
    rem = int(taker.quantity)
    budget = 0 if limit else max(0, view.funds())  # 3.2: read once
    broke = False
    while rem > 0 and not broke:
        price = view.book.best(side)
        if not price or (limit and not crosses(taker, price)):  # 4.3
            break
        cur = view.book.head(side, price)
        while cur and rem > 0:  # 4.4
            maker = view.book.orders.rows[cur]
            after = maker.next
            if maker.expiry < now:  # a
                yield Expire(cur)
            elif taker.time_in_force == "post_only":  # b
                yield Revert("PostOnlyWouldTake")
                return
            elif maker.account == taker.account:  # c
                yield Cancel(cur)
            else:  # d
                wanted = quantity = min(rem, maker.quantity - maker.filled)
                if not limit:
                    quantity = min(quantity, _affordable(view, taker, budget, price, lot))
                    if not quantity:
                        broke = True
                        break
                    budget -= _cost(view, taker, quantity, price)
                rem -= quantity
                yield Fill(cur, price, Quantity(quantity))
                if quantity < wanted:  # the budget is spent: the same maker again, and nothing
                    broke = True
                    break
            cur = after
    yield from _close(taker, Quantity(taker.quantity - rem))


def _close(taker: Order, filled: Quantity) -> Run:
    status: OrderStatus = "partially_filled" if filled else "expired"
    if filled == taker.quantity:
        yield Close(taker.order_id, filled, "filled")
    elif taker.time_in_force == "fok":
        yield Revert("FillOrKillNotFilled")
    elif taker.type == "market":
        yield Close(taker.order_id, filled, status)
    elif taker.time_in_force == "ioc":
        yield Cancel(taker.order_id)


def _affordable(view: View, taker: Order, budget: int, price: int, lot: int) -> int:
    """Base units in whole lots; exact, as a lot's cost is (1.1)."""
    base = budget * view.book.base_unit // price if taker.side == "buy" else budget
    return base // lot * lot


def _cost(view: View, taker: Order, quantity: int, price: int) -> int:
    return quantity * price // view.book.base_unit if taker.side == "buy" else quantity


def refuses(taker: Order, market: Market, base_unit: int, now: int) -> str | None:
    """1.2, 2.3, and the value of 3.1."""
    tick, lot = market.tick_size or 1, market.lot_size or 1
    lots, off_lot = divmod(taker.quantity, lot)
    if off_lot or not 0 < lots < 1 << 64:
        return "InvalidQuantity"
    if taker.type == "market":
        return None if taker.time_in_force in ("ioc", "fok") else "InvalidTimeInForce"
    ticks, off_tick = divmod(taker.price, tick)
    if off_tick or not 0 < ticks < 1 << 32:
        return "InvalidPrice"
    if taker.expiry < now:
        return "InvalidExpiry"
    value = quote_amount(taker.quantity, taker.price, base_unit)
    if value < (market.min_quote_amount or 0):
        return "OrderTooSmall"
    return "OrderTooLarge" if value >= 1 << 128 else None
