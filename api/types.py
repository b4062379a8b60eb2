"""GraphQL's types: what the domain's nouns look like outside.

Decimals are text, scaled by the token's decimals; `raw…` fields are the same number in contract
units, as text because a uint256 is wider than any JSON reader's integer. Times are unix seconds.
"""

import strawberry

from api import marks
from api.arguments import Cursor
from api.scalars import Long, OrderStatus, OrderType, Side, TimeInForce
from indexer.domain import balance as domain_balance
from indexer.domain import market as domain_market
from indexer.domain import order as domain_order
from indexer.domain.listing import Listing
from indexer.domain.units import to_decimal


@strawberry.type
class Token:
    address: str
    symbol: str
    name: str
    decimals: int

    @classmethod
    def of(cls, token: domain_market.Token) -> "Token":
        return cls(
            address=token.address, symbol=token.symbol, name=token.name, decimals=token.decimals
        )


@strawberry.type(description="One order book contract. Prices are quote for one base.")
class Market:
    address: str
    symbol: str
    pool_id: str
    base: Token
    quote: Token
    created_block: Long
    tick_size: str | None = strawberry.field(description="Smallest step of a price.")
    lot_size: str | None = strawberry.field(description="Smallest step of a quantity.")
    min_quantity: str | None
    min_quote_amount: str | None
    diverged: bool = strawberry.field(
        resolver=marks.diverged,
        description="The contract did what its rules do not say, and nobody has acknowledged it.",
    )
    open_divergences: int = strawberry.field(
        resolver=marks.open_divergences, description="How many are not acknowledged."
    )

    @classmethod
    def of(cls, listing: Listing) -> "Market":
        market = listing.market

        def told(units: int | None, decimals: int) -> str | None:
            return None if units is None else to_decimal(units, decimals)

        return cls(
            address=market.address,
            symbol=market.symbol,
            pool_id=market.pool_id,
            base=Token.of(listing.base),
            quote=Token.of(listing.quote),
            created_block=Long(market.created_block),
            tick_size=told(market.tick_size, listing.quote.decimals),
            lot_size=told(market.lot_size, listing.base.decimals),
            min_quantity=told(market.min_quantity, listing.base.decimals),
            min_quote_amount=told(market.min_quote_amount, listing.quote.decimals),
        )


@strawberry.type
class Order:
    cursor: str = strawberry.field(description="Pass as `after` to get what is older than this.")
    market: Market
    order_id: Long
    account: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    price: str
    raw_price: str
    quantity: str = strawberry.field(
        description="In base tokens; in quote tokens where `quantityInQuote`."
    )
    raw_quantity: str
    quantity_in_quote: bool
    filled: str = strawberry.field(description="In base tokens.")
    raw_filled: str
    quote_filled: str = strawberry.field(description="What the fills cost, in quote tokens.")
    raw_quote_filled: str
    status: OrderStatus
    expiry: Long
    placed_at: Long
    placed_block: Long
    updated_block: Long
    tx: str

    @classmethod
    def of(cls, order: domain_order.Order, market: Market, listing: Listing) -> "Order":
        scale = listing.quote_amount if order.quantity_in_quote else listing.quantity
        return cls(
            cursor=str(Cursor(order.placed_block, order.placed_log_index)),
            market=market,
            order_id=Long(order.order_id),
            account=order.account,
            side=Side(order.side),
            type=OrderType(order.type),
            time_in_force=TimeInForce(order.time_in_force),
            price=listing.price(order.price),
            raw_price=str(order.price),
            quantity=scale(order.quantity),
            raw_quantity=str(order.quantity),
            quantity_in_quote=order.quantity_in_quote,
            filled=listing.quantity(order.filled),
            raw_filled=str(order.filled),
            quote_filled=listing.quote_amount(order.quote_filled),
            raw_quote_filled=str(order.quote_filled),
            status=OrderStatus(order.status),
            expiry=Long(order.expiry),
            placed_at=Long(order.placed_at),
            placed_block=Long(order.placed_block),
            updated_block=Long(order.updated_block),
            tx=order.tx,
        )


@strawberry.type(description="One maker met one taker.")
class Trade:
    cursor: str = strawberry.field(description="Pass as `after` to get what is older than this.")
    market: Market
    block_number: Long
    log_index: int
    tx: str
    timestamp: Long
    price: str
    raw_price: str
    quantity: str
    raw_quantity: str
    quote_amount: str
    raw_quote_amount: str
    taker_side: Side
    maker_order_id: Long
    taker_order_id: Long
    maker: str
    taker: str
    maker_fee: str | None = strawberry.field(
        description="In what the maker receives: quote if the taker bought, else base."
    )
    taker_fee: str | None = strawberry.field(
        description="In what the taker receives: base if the taker bought, else quote."
    )

    @classmethod
    def of(cls, trade: domain_order.Trade, market: Market, listing: Listing) -> "Trade":
        bought = trade.taker_side == "buy"
        maker_gets, taker_gets = listing.base, listing.quote
        if bought:
            maker_gets, taker_gets = taker_gets, maker_gets
        return cls(
            cursor=str(Cursor(trade.block_number, trade.log_index)),
            market=market,
            block_number=Long(trade.block_number),
            log_index=trade.log_index,
            tx=trade.tx,
            timestamp=Long(trade.timestamp),
            price=listing.price(trade.price),
            raw_price=str(trade.price),
            quantity=listing.quantity(trade.quantity),
            raw_quantity=str(trade.quantity),
            quote_amount=listing.quote_amount(trade.quote_amount),
            raw_quote_amount=str(trade.quote_amount),
            taker_side=Side(trade.taker_side),
            maker_order_id=Long(trade.maker_order_id),
            taker_order_id=Long(trade.taker_order_id),
            maker=trade.maker,
            taker=trade.taker,
            maker_fee=_fee(trade.maker_fee, maker_gets),
            taker_fee=_fee(trade.taker_fee, taker_gets),
        )


def _fee(units: int | None, token: domain_market.Token) -> str | None:
    return None if units is None else to_decimal(units, token.decimals)


@strawberry.type
class Block:
    number: Long
    hash: str
    timestamp: Long | None = strawberry.field(description="Null where the header is not stored.")


@strawberry.type(description="One price of one side, as far as a taker can reach it.")
class Level:
    price: str
    raw_price: str
    quantity: str
    raw_quantity: str
    order_count: int

    @classmethod
    def of(cls, level: domain_order.Level, listing: Listing) -> "Level":
        return cls(
            price=listing.price(level.price),
            raw_price=str(level.price),
            quantity=listing.quantity(level.quantity),
            raw_quantity=str(level.quantity),
            order_count=level.order_count,
        )


@strawberry.type(description="A book by price, best first on both sides.")
class Depth:
    market: Market
    block: Block | None
    seq: Long = strawberry.field(
        description="The depth message this state contains last: the live feed's next `pu`."
    )
    bids: list[Level]
    asks: list[Level]


@strawberry.type(description="What an account has inside the exchange, of one token.")
class Balance:
    account: str
    token: Token
    available: str
    raw_available: str
    locked: str
    raw_locked: str

    @classmethod
    def of(cls, balance: domain_balance.Balance, token: domain_market.Token) -> "Balance":
        return cls(
            account=balance.account,
            token=Token.of(token),
            available=to_decimal(balance.available, token.decimals),
            raw_available=str(balance.available),
            locked=to_decimal(balance.locked, token.decimals),
            raw_locked=str(balance.locked),
        )


@strawberry.type(description="One interval of one market. Intervals without a trade have none.")
class Candle:
    open_time: Long
    open: str
    high: str
    low: str
    close: str
    volume: str
    quote_volume: str
    taker_buy_volume: str
    taker_buy_quote_volume: str
    trades: int

    @classmethod
    def of(cls, candle: domain_order.Candle, listing: Listing) -> "Candle":
        return cls(
            open_time=Long(candle.open_time),
            open=listing.price(candle.open),
            high=listing.price(candle.high),
            low=listing.price(candle.low),
            close=listing.price(candle.close),
            volume=listing.quantity(candle.volume),
            quote_volume=listing.quote_amount(candle.quote_volume),
            taker_buy_volume=listing.quantity(candle.taker_buy_volume),
            taker_buy_quote_volume=listing.quote_amount(candle.taker_buy_quote_volume),
            trades=candle.trades,
        )


@strawberry.type(description="Where the writer stands: what the whole answer is about.")
class Meta:
    chain_id: Long
    block: Block | None = strawberry.field(description="The block every part of the answer is at.")
    head: Long | None = strawberry.field(description="The node's newest block number.")
    safe: Long | None
    finalized: Long | None
    seq: Long = strawberry.field(description="The newest message of this epoch.")
    epoch: str
