"""GraphQL's types: what the domain's nouns look like outside.

Decimals are text, scaled by the token's decimals; `raw…` fields are the same number in contract
units, as text because a uint256 is wider than any JSON reader's integer. Times are unix seconds.
"""

import strawberry

from api import marks
from api.arguments import Cursor
from api.columns import decimal, raw, stored, told, word
from api.scalars import Long, OrderStatus, OrderType, Side, TimeInForce
from indexer.domain import balance as domain_balance
from indexer.domain import market as domain_market
from indexer.domain import order as domain_order
from indexer.domain.change import StandingLevel
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
    listing: strawberry.Private[Listing]

    address: str = stored("listing.address")
    symbol: str = stored("listing.symbol")
    pool_id: str = stored("listing.market.pool_id")
    base: Token = told(lambda self: Token.of(self.listing.base))
    quote: Token = told(lambda self: Token.of(self.listing.quote))
    created_block: Long = stored("listing.market.created_block")
    tick_size: str | None = told(
        lambda self: _scaled(self.listing.market.tick_size, self.listing.quote),
        "Smallest step of a price.",
    )
    lot_size: str | None = told(
        lambda self: _scaled(self.listing.market.lot_size, self.listing.base),
        "Smallest step of a quantity.",
    )
    min_quantity: str | None = told(
        lambda self: _scaled(self.listing.market.min_quantity, self.listing.base)
    )
    min_quote_amount: str | None = told(
        lambda self: _scaled(self.listing.market.min_quote_amount, self.listing.quote)
    )
    diverged: bool = strawberry.field(
        resolver=marks.diverged,
        description="The contract did what its rules do not say, and nobody has acknowledged it.",
    )
    open_divergences: int = strawberry.field(
        resolver=marks.open_divergences, description="How many are not acknowledged."
    )

    @classmethod
    def of(cls, listing: Listing) -> "Market":
        return cls(listing=listing)


def _scaled(units: int | None, token: domain_market.Token) -> str | None:
    return None if units is None else to_decimal(units, token.decimals)


BASE, QUOTE = "listing.base.decimals", "listing.quote.decimals"
CURSOR = "Pass as `after` to get what is older than this."


@strawberry.type
class Order:
    row: strawberry.Private[domain_order.Order]
    listing: strawberry.Private[Listing]

    cursor: str = told(lambda self: str(self.origin), CURSOR)
    market: Market
    order_id: Long = stored("row.order_id")
    account: str = stored("row.account")
    side: Side = word("row.side", Side)
    type: OrderType = word("row.type", OrderType)
    time_in_force: TimeInForce = word("row.time_in_force", TimeInForce)
    price: str = decimal("row.price", QUOTE)
    raw_price: str = raw("row.price")
    quantity: str = decimal(
        "row.quantity",
        "ordered.decimals",
        "In base tokens; in quote tokens where `quantityInQuote`.",
    )
    raw_quantity: str = raw("row.quantity")
    quantity_in_quote: bool = stored("row.quantity_in_quote")
    filled: str = decimal("row.filled", BASE, "In base tokens.")
    raw_filled: str = raw("row.filled")
    quote_filled: str = decimal("row.quote_filled", QUOTE, "What the fills cost, in quote tokens.")
    raw_quote_filled: str = raw("row.quote_filled")
    status: OrderStatus = word("row.status", OrderStatus)
    expiry: Long = stored("row.expiry")
    placed_at: Long = stored("row.placed_at")
    placed_block: Long = stored("row.placed_block")
    updated_block: Long = stored("row.updated_block")
    tx: str = stored("row.tx")

    @property
    def origin(self) -> Cursor:
        return Cursor(self.row.placed_block, self.row.placed_log_index)

    @property
    def ordered(self) -> domain_market.Token:
        """What its quantity is of."""
        return self.listing.quote if self.row.quantity_in_quote else self.listing.base


@strawberry.type(description="One maker met one taker.")
class Trade:
    row: strawberry.Private[domain_order.Trade]
    listing: strawberry.Private[Listing]

    cursor: str = told(lambda self: str(self.origin), CURSOR)
    market: Market
    block_number: Long = stored("row.block_number")
    log_index: int = stored("row.log_index")
    tx: str = stored("row.tx")
    timestamp: Long = stored("row.timestamp")
    price: str = decimal("row.price", QUOTE)
    raw_price: str = raw("row.price")
    quantity: str = decimal("row.quantity", BASE)
    raw_quantity: str = raw("row.quantity")
    quote_amount: str = decimal("row.quote_amount", QUOTE)
    raw_quote_amount: str = raw("row.quote_amount")
    taker_side: Side = word("row.taker_side", Side)
    maker_order_id: Long = stored("row.maker_order_id")
    taker_order_id: Long = stored("row.taker_order_id")
    maker: str = stored("row.maker")
    taker: str = stored("row.taker")
    maker_fee: str | None = told(
        lambda self: _scaled(self.row.maker_fee, self.tokens[0]),
        "In what the maker receives: quote if the taker bought, else base.",
    )
    taker_fee: str | None = told(
        lambda self: _scaled(self.row.taker_fee, self.tokens[1]),
        "In what the taker receives: base if the taker bought, else quote.",
    )

    @property
    def origin(self) -> Cursor:
        return Cursor(self.row.block_number, self.row.log_index)

    @property
    def tokens(self) -> tuple[domain_market.Token, domain_market.Token]:
        """What the maker received, and what the taker did."""
        base, quote = self.listing.base, self.listing.quote
        return (quote, base) if self.row.taker_side == "buy" else (base, quote)


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
    def of(cls, level: domain_order.Level | StandingLevel, listing: Listing) -> "Level":
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
