"""What subscriptions tell: messages of the streams in the schema's words.

Applying an event twice does no harm: `trade` and `fill` are facts with a name, everything else is
the state to set, `retract` that of before.
"""

from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

import strawberry

from api import tickers, types
from api.scalars import Long, OrderStatus, OrderType, Side, TimeInForce
from api.view import Finality
from indexer.domain import order as domain
from indexer.domain.balance import Balance
from indexer.domain.listing import Listing
from indexer.domain.market import Token
from indexer.domain.units import Amount, Price, Quantity, to_decimal
from indexer.wire import Message


@strawberry.enum(description="What an event does. All but the first three carry no payload.")
class Operation(Enum):
    apply = "apply"
    retract = "retract"
    snapshot = strawberry.enum_value(
        "snapshot", description="Begin anew: with the whole book where there is one."
    )
    promote = strawberry.enum_value("promote", description="The block is as final as it says.")
    reorg_begin = strawberry.enum_value("reorg.begin", description="Retractions follow.")
    reorg_end = strawberry.enum_value("reorg.end", description="The book is whole again.")
    restart = strawberry.enum_value("restart", description="The first word of an epoch.")


@strawberry.interface(description="Pass `epoch` and `seq` as `after` to hear what follows.")
class Event:
    operation: Operation
    epoch: str
    seq: Long
    prev_seq: Long = strawberry.field(description="The seq before in the same channel.")
    finality: Finality
    block: types.Block


@strawberry.type
class TradeEvent(Event):
    trade: types.Trade | None


@strawberry.type(description="Levels to set, absolute; quantity 0 takes one out.")
class DepthEvent(Event):
    bids: list[types.Level]
    asks: list[types.Level]


@strawberry.type(description="A minute's candle; null takes it out. Longer ones are sums of these.")
class CandleEvent(Event):
    open_time: Long | None
    candle: types.Candle | None


@strawberry.type(description="An order as it is after the event.")
class OrderState:
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    price: str
    raw_price: str
    quantity: str
    raw_quantity: str
    quantity_in_quote: bool
    filled: str
    raw_filled: str
    quote_filled: str
    raw_quote_filled: str
    status: OrderStatus
    expiry: Long
    placed_at: Long


@strawberry.type(description="An order changed; a null `order` was never placed.")
class OrderEvent(Event):
    market: types.Market | None
    order_id: Long | None
    order: OrderState | None


@strawberry.type
class BalanceEvent(Event):
    balance: types.Balance | None


@strawberry.type(description="A market's 24 hours as of the newest block, to be set.")
class TickerEvent(Event):
    ticker: tickers.Ticker | None


@strawberry.enum(description="What happened to an order.")
class ExecutionKind(Enum):
    placed = "placed"
    traded = "traded"
    cancelled = "cancelled"
    expired = "expired"
    closed = strawberry.enum_value("closed", description="A market order that is done.")


@strawberry.type(description="What one order traded.")
class Traded:
    price: str
    quantity: str
    quote_amount: str
    fee: str | None = strawberry.field(description="Of the token that the order received.")
    is_maker: bool


@strawberry.type(description="One fact of one order's life.")
class ExecutionReport:
    market: types.Market
    order_id: Long
    kind: ExecutionKind
    log_index: int
    tx: str
    side: Side
    type: OrderType
    price: str
    status: OrderStatus
    filled: str = strawberry.field(description="In all, behind this.")
    quote_filled: str
    traded: Traded | None = strawberry.field(description="What this was, of `traded`.")


@strawberry.type(description="What an account's orders did; `retract` names what is no more.")
class ExecutionEvent(Event):
    report: ExecutionReport | None


@strawberry.type(description="Promotions and reorgs of the whole chain.")
class ChainEvent(Event):
    ancestor: types.Block | None = strawberry.field(
        description="The newest block that a reorg leaves."
    )
    depth: int | None
    subject: str | None = strawberry.field(
        description="`market` or `divergence`, where one came or was taken back."
    )
    market: str | None = strawberry.field(description="Its order book's address.")


E = TypeVar("E", bound=Event)


def operation(message: Message) -> Operation:
    """What a message does to whoever hears it."""
    match message.op:
        case "apply" | "retract" | "promote" | "snapshot":
            return Operation(message.op)
        case _:
            return Operation(message.data["event"])


def tell(kind: Callable[..., E], message: Message, **payload: Any) -> E:
    """An event of a message."""
    at = message.block
    return kind(
        operation=operation(message),
        epoch=message.epoch,
        seq=Long(message.seq),
        prev_seq=Long(message.prev_seq),
        finality=Finality(message.finality),
        block=types.Block(number=Long(at.number), hash=at.hash, timestamp=Long(at.timestamp)),
        **payload,
    )


def trade(message: Message, market: types.Market, listing: Listing) -> types.Trade:
    data = message.data
    assert message.tx is not None, "a trade without a tx"
    return types.Trade(
        row=domain.Trade(
            market=listing.address,
            block_number=data["block_number"],
            log_index=data["log_index"],
            tx=message.tx,
            timestamp=data["timestamp"],
            price=Price(int(data["price"])),
            quantity=Quantity(int(data["quantity"])),
            quote_amount=Amount(int(data["quote_amount"])),
            taker_side=data["taker_side"],
            maker_order_id=data["maker_order_id"],
            taker_order_id=data["taker_order_id"],
            maker=data["maker"],
            taker=data["taker"],
            maker_fee=_amount(data["maker_fee"]),
            taker_fee=_amount(data["taker_fee"]),
        ),
        listing=listing,
        market=market,
    )


def _amount(text: str | None) -> Amount | None:
    return None if text is None else Amount(int(text))


def levels(message: Message, side: str, listing: Listing) -> list[types.Level]:
    """The levels of one side, `bids` or `asks`, that a message sets."""
    return [
        types.Level(
            price=listing.price(int(price)),
            raw_price=price,
            quantity=listing.quantity(int(quantity)),
            raw_quantity=quantity,
            order_count=count,
        )
        for price, quantity, count in message.data.get(side, ())
    ]


def candle(message: Message, listing: Listing) -> types.Candle | None:
    data = message.data["candle"]
    if data is None:
        return None
    sums: dict[str, Any] = {name: int(value) for name, value in data.items()}
    minute = domain.Candle(listing.address, message.data["open_time"], **sums)
    return types.Candle.of(minute, listing)


def order(data: dict[str, Any] | None, listing: Listing) -> OrderState | None:
    if data is None:
        return None
    scale = listing.quote_amount if data["quantity_in_quote"] else listing.quantity
    return OrderState(
        side=Side(data["side"]),
        type=OrderType(data["type"]),
        time_in_force=TimeInForce(data["time_in_force"]),
        price=listing.price(int(data["price"])),
        raw_price=data["price"],
        quantity=scale(int(data["quantity"])),
        raw_quantity=data["quantity"],
        quantity_in_quote=data["quantity_in_quote"],
        filled=listing.quantity(int(data["filled"])),
        raw_filled=data["filled"],
        quote_filled=listing.quote_amount(int(data["quote_filled"])),
        raw_quote_filled=data["quote_filled"],
        status=OrderStatus(data["status"]),
        expiry=Long(data["expiry"]),
        placed_at=Long(data["placed_at"]),
    )


def balance(message: Message, token: Token) -> types.Balance:
    """A balance; nothing where there was none."""
    data = message.data["balance"] or {"available": "0", "locked": "0"}
    available, locked = Amount(int(data["available"])), Amount(int(data["locked"]))
    held = Balance(message.data["account"], token.address, available, locked)
    return types.Balance.of(held, token)


def report(message: Message, listing: Listing) -> ExecutionReport:
    data = message.data
    assert message.tx is not None, "a report without a tx"
    assert message.log_index is not None, "a report without its log"
    return ExecutionReport(
        market=types.Market.of(listing),
        order_id=Long(data["order_id"]),
        kind=ExecutionKind(data["kind"]),
        log_index=message.log_index,
        tx=message.tx,
        side=Side(data["side"]),
        type=OrderType(data["type"]),
        price=listing.price(int(data["price"])),
        status=OrderStatus(data["status"]),
        filled=listing.quantity(int(data["filled"])),
        quote_filled=listing.quote_amount(int(data["quote_filled"])),
        traded=_traded(data, listing) if data["kind"] == "traded" else None,
    )


def _traded(data: dict[str, Any], listing: Listing) -> Traded:
    received = listing.base if data["side"] == "buy" else listing.quote
    fee = _amount(data["trade_fee"])
    return Traded(
        price=listing.price(int(data["trade_price"])),
        quantity=listing.quantity(int(data["trade_quantity"])),
        quote_amount=listing.quote_amount(int(data["trade_quote_amount"])),
        fee=None if fee is None else to_decimal(fee, received.decimals),
        is_maker=bool(data["is_maker"]),
    )
