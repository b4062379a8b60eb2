"""What would come of an order that nobody has sent."""

import msgspec

from indexer.domain.order import OrderStatus, Side, TimeInForce
from indexer.domain.units import Address, Amount, Price, Quantity

Ratio = tuple[int, int]
"""An exact number: numerator and denominator, in lowest terms."""


class Intent(msgspec.Struct, frozen=True):
    """An order to be simulated: a limit order with a price, a market order without.

    Without an account it has all the funds it needs and meets nobody's order as its own.
    `expiry` is the last second at which it may trade; None means the protocol's 90 days.
    `quantity` is in quote where the protocol's market orders say so (scalex, buy).
    """

    side: Side
    quantity: Quantity
    price: Price | None = None
    account: Address | None = None
    time_in_force: TimeInForce = "gtc"
    expiry: int | None = None


class ForeseenFill(msgspec.Struct, frozen=True):
    """One maker it would meet. Fees are None while the rates are not known."""

    maker_order_id: int
    maker: Address
    price: Price
    quantity: Quantity
    quote_amount: Amount
    maker_fee: Amount | None
    taker_fee: Amount | None


class Resting(msgspec.Struct, frozen=True):
    """What would stay in the book, and behind what. Position 1 is the head of the queue."""

    price: Price
    quantity: Quantity
    position: int
    quantity_ahead: Quantity


class Execution(msgspec.Struct, frozen=True):
    """The outcome. A rejected order leaves no trace; `rejection` is the contract's word for why.

    `average_price` is in quote units per whole base token. `price_impact_bps` tells how much worse
    it is than the best price on offer before. `fee` is the taker's, of the token it receives.
    """

    status: OrderStatus
    fills: tuple[ForeseenFill, ...] = ()
    filled: Quantity = Quantity(0)
    quote_filled: Amount = Amount(0)
    remaining: int = 0
    """Of the intent's quantity, in its own unit."""
    average_price: Ratio | None = None
    price_impact_bps: Ratio | None = None
    fee: Amount | None = Amount(0)
    resting: Resting | None = None
    cancelled: tuple[int, ...] = ()
    """Orders of the same account that it would take out of the book."""
    expired: tuple[int, ...] = ()
    rejection: str | None = None
