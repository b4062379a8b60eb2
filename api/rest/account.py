"""`/api/v3` by `address`: an account's orders, trades and balances in Binance's dialect.

The chain's data is public: nothing is signed, and nothing can be written.
"""

from typing import assert_never

from api import account_reads, reads
from api.account_reads import TimedOrder
from api.rest import answers as a
from api.rest import errors
from api.rest import params as p
from api.rest.endpoint import Assets, Call, Endpoint
from indexer.domain.interval import DAY_S
from indexer.domain.listing import Listing
from indexer.domain.order import Order, Trade
from indexer.domain.trade_ids import origin_of, trade_id
from indexer.domain.units import to_decimal

MAX_OPEN_ORDERS = 1000
MAX_WINDOW_HOURS = 24
DAY_MS = DAY_S * 1000


def _status(order: Order) -> str:
    match order.status:
        case "open":
            return "NEW"
        case "partially_filled":  # what a market order did not fill is gone
            return "PARTIALLY_FILLED" if order.type == "limit" else "EXPIRED"
        case "filled":
            return "FILLED"
        case "cancelled":
            return "CANCELED"
        case "expired":
            return "EXPIRED"
        case "rejected":
            return "REJECTED"
        case "orphaned":  # out of reach, but its funds are still locked
            return "PARTIALLY_FILLED" if order.filled else "NEW"
        case _:
            assert_never(order.status)


def _order(call: Call, listing: Listing, timed: TimedOrder) -> a.Order:
    order, changed = timed
    in_quote = order.quantity_in_quote
    post_only = order.time_in_force == "post_only"
    quantity = order.filled if in_quote else order.quantity
    return a.Order(
        symbol=call.symbol(listing),
        order_id=order.order_id,
        order_list_id=-1,
        client_order_id=str(order.order_id),
        price=listing.price(order.price),
        orig_qty=listing.quantity(quantity),
        executed_qty=listing.quantity(order.filled),
        cummulative_quote_qty=listing.quote_amount(order.quote_filled),
        status=_status(order),
        time_in_force="GTC" if post_only else order.time_in_force.upper(),
        type="LIMIT_MAKER" if post_only else order.type.upper(),
        side=order.side.upper(),
        stop_price="0",
        iceberg_qty="0",
        time=order.placed_at * 1000,
        update_time=changed * 1000,
        is_working=order.working,
        working_time=order.placed_at * 1000,
        orig_quote_order_qty=listing.quote_amount(order.quantity) if in_quote else "0",
        self_trade_prevention_mode="NONE",
    )


def _orders(call: Call, found: list[TimedOrder]) -> list[a.Order]:
    listed = ((call.directory.at(timed[0].market), timed) for timed in found)
    return [_order(call, listing, timed) for listing, timed in listed if listing is not None]


async def open_orders(call: Call) -> list[a.Order]:
    market = None if call["symbol"] is None else call.listing(call["symbol"]).address
    found = await account_reads.account_orders(
        call.snapshot, account=call["address"], market=market, working=True, limit=MAX_OPEN_ORDERS
    )
    return _orders(call, found)


async def all_orders(call: Call) -> list[a.Order]:
    listing = call.listing(call["symbol"])
    _check_window(call)
    found = await account_reads.account_orders(
        call.snapshot,
        account=call["address"],
        market=listing.address,
        from_id=call["orderId"],
        since=_from_ms(call["startTime"]),
        until=None if call["endTime"] is None else call["endTime"] // 1000,
        limit=call["limit"],
    )
    return _orders(call, found)


async def order(call: Call) -> a.Order:
    listing = call.listing(call["symbol"])
    if call["orderId"] is None:
        raise errors.missing("orderId")
    found = await account_reads.account_orders(
        call.snapshot,
        account=call["address"],
        market=listing.address,
        order_id=call["orderId"],
        limit=1,
    )
    if not found:
        raise errors.no_order()
    return _order(call, listing, found[0])


async def my_trades(call: Call) -> list[a.MyTrade]:
    listing = call.listing(call["symbol"])
    _check_window(call)
    if call["fromId"] is not None and (
        call["startTime"] is not None or call["endTime"] is not None
    ):
        raise errors.combination("fromId", "startTime or endTime")
    found = await account_reads.account_trades(
        call.snapshot,
        account=call["address"],
        market=listing.address,
        origin=None if call["fromId"] is None else origin_of(call["fromId"]),
        order_id=call["orderId"],
        since=_from_ms(call["startTime"]),
        until=None if call["endTime"] is None else call["endTime"] // 1000,
        limit=call["limit"],
    )
    assets = Assets(call.directory)
    rows = []
    for trade in found:
        for is_maker in (True, False):
            account = trade.maker if is_maker else trade.taker
            number = trade.maker_order_id if is_maker else trade.taker_order_id
            if account == call["address"] and call["orderId"] in (None, number):
                rows.append(_my_trade(call, listing, assets, trade, is_maker=is_maker))
    return rows


def _my_trade(
    call: Call, listing: Listing, assets: Assets, trade: Trade, *, is_maker: bool
) -> a.MyTrade:
    is_buyer = (trade.taker_side == "buy") is not is_maker
    received = listing.base if is_buyer else listing.quote
    fee = trade.maker_fee if is_maker else trade.taker_fee
    return a.MyTrade(
        symbol=call.symbol(listing),
        id=trade_id(trade.block_number, trade.log_index),
        order_id=trade.maker_order_id if is_maker else trade.taker_order_id,
        order_list_id=-1,
        price=listing.price(trade.price),
        qty=listing.quantity(trade.quantity),
        quote_qty=listing.quote_amount(trade.quote_amount),
        commission=to_decimal(fee or 0, received.decimals),
        commission_asset=assets.name(received),
        time=trade.timestamp * 1000,
        is_buyer=is_buyer,
        is_maker=is_maker,
    )


async def account(call: Call) -> a.Account:
    """Balances by asset; commissions are the highest of any market, in hundredths of a percent."""
    held = await reads.balances(call.snapshot, account=call["address"], token=None, limit=1000)
    assets = Assets(call.directory)
    markets = [listing.market for listing in call.directory]
    maker = max((one.maker_fee_per_mille or 0 for one in markets), default=0)
    taker = max((one.taker_fee_per_mille or 0 for one in markets), default=0)
    balances = [
        a.AssetBalance(
            assets.name(token),
            to_decimal(one.available, token.decimals),
            to_decimal(one.locked, token.decimals),
        )
        for one in held
        if (token := assets.tokens.get(one.token)) is not None
        and not (call["omitZeroBalances"] and one.available == one.locked == 0)
    ]
    return a.Account(
        maker_commission=maker * 10,
        taker_commission=taker * 10,
        buyer_commission=0,
        seller_commission=0,
        commission_rates=a.CommissionRates(to_decimal(maker, 3), to_decimal(taker, 3), "0", "0"),
        can_trade=True,
        can_withdraw=True,
        can_deposit=True,
        brokered=False,
        require_self_trade_prevention=False,
        prevent_sor=False,
        update_time=call.now * 1000,
        account_type="SPOT",
        balances=balances,
        permissions=["SPOT"],
        uid=int(call["address"], 16) % 2**53,
    )


def _from_ms(milliseconds: int | None) -> int | None:
    return None if milliseconds is None else -(-milliseconds // 1000)


def _check_window(call: Call) -> None:
    since, until = call["startTime"], call["endTime"]
    if since is not None and until is not None and not 0 <= until - since <= DAY_MS:
        raise errors.too_long(MAX_WINDOW_HOURS)


_SYMBOL, _ADDRESS, _ORDER_ID = p.symbol(), p.address(), p.integer("orderId", "An order's number.")
_TIMES = (p.START_TIME, p.END_TIME, p.limit(500, 1000))

ENDPOINTS = (
    Endpoint(
        "/api/v3/openOrders",
        open_orders,
        list[a.Order],
        "Orders that still hold funds",
        (_ADDRESS, p.symbol(required=False), *p.SIGNED),
    ),
    Endpoint(
        "/api/v3/allOrders",
        all_orders,
        list[a.Order],
        "Orders of one market, oldest first",
        (_ADDRESS, _SYMBOL, _ORDER_ID, *_TIMES, *p.SIGNED),
    ),
    Endpoint(
        "/api/v3/order",
        order,
        a.Order,
        "One order",
        (_ADDRESS, _SYMBOL, p.integer("orderId", "An order's number.", required=True), *p.SIGNED),
    ),
    Endpoint(
        "/api/v3/myTrades",
        my_trades,
        list[a.MyTrade],
        "Trades of one market, oldest first",
        (_ADDRESS, _SYMBOL, _ORDER_ID, p.FROM_ID, *_TIMES, *p.SIGNED),
    ),
    Endpoint(
        "/api/v3/account",
        account,
        a.Account,
        "Balances",
        (_ADDRESS, p.boolean("omitZeroBalances", "Leave out what is zero."), *p.SIGNED),
    ),
)
