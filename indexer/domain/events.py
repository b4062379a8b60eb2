"""The closed set of facts a chain can tell us. `decode` makes them, `mirror` folds them.

Every event carries the tx and log index it came from and the contract that said it; its block is
the block it arrives with. Numbers are integers in contract units (domain/units.py).
"""

import msgspec

from indexer.domain.order import OrderStatus, OrderType, Side, TimeInForce
from indexer.domain.units import Address, Amount, Hash, Price, Quantity


class Event(msgspec.Struct, frozen=True, gc=False):
    """What all events have. Not an event itself: `AnyEvent` is the set to match on."""

    tx: Hash
    log_index: int
    address: Address


class MarketCreated(Event, frozen=True, gc=False):
    pool_id: Hash
    market: Address
    base: Address
    quote: Address


class RulesUpdated(Event, frozen=True, gc=False):
    """New trading rules of the market that says it."""

    min_quantity: Quantity
    lot_size: Quantity
    tick_size: Price
    min_quote_amount: Amount


class OrderPlaced(Event, frozen=True, gc=False):
    order_id: int
    account: Address
    side: Side
    price: Price
    quantity: Quantity
    expiry: int
    type: OrderType
    status: OrderStatus
    time_in_force: TimeInForce = "gtc"
    """`gtc` also where the event's shape has no such field (OrderPlaced v1 and v2)."""


class Traded(Event, frozen=True, gc=False):
    taker: Address
    buy_order_id: int
    sell_order_id: int
    taker_side: Side
    timestamp: int
    price: Price
    quantity: Quantity


class StatusAsserted(Event, frozen=True, gc=False):
    """The contract's own opinion of an order. Its `filled` repeats what trades already said."""

    order_id: int
    timestamp: int
    filled: Quantity
    status: OrderStatus


class OrderCancelled(Event, frozen=True, gc=False):
    order_id: int
    account: Address
    timestamp: int
    status: OrderStatus


class Deposited(Event, frozen=True, gc=False):
    account: Address
    token: Address
    amount: Amount


class Withdrawn(Event, frozen=True, gc=False):
    account: Address
    token: Address
    amount: Amount


class Locked(Event, frozen=True, gc=False):
    account: Address
    token: Address
    amount: Amount


class Unlocked(Event, frozen=True, gc=False):
    account: Address
    token: Address
    amount: Amount


class Transferred(Event, frozen=True, gc=False):
    """Out of the sender's available funds. `amount` is gross: the receiver gets it less `fee`."""

    operator: Address
    sender: Address
    receiver: Address
    token: Address
    amount: Amount
    fee: Amount


class LockedTransferred(Event, frozen=True, gc=False):
    """The same out of the sender's locked funds."""

    operator: Address
    sender: Address
    receiver: Address
    token: Address
    amount: Amount
    fee: Amount


class Debited(Event, frozen=True, gc=False):
    """Available funds taken for a debt (repayment, seizure)."""

    account: Address
    token: Address
    amount: Amount


class TokensMoved(Event, frozen=True, gc=False):
    """An ERC-20 Transfer; `address` is the token."""

    sender: Address
    receiver: Address
    amount: Amount


class Noted(Event, frozen=True, gc=False):
    """A known event without effect on anything we keep."""

    name: str


class Unknown(Event, frozen=True, gc=False):
    """A log of a followed contract whose topic no ABI of ours has."""

    topic0: Hash


AnyEvent = (
    MarketCreated
    | RulesUpdated
    | OrderPlaced
    | Traded
    | StatusAsserted
    | OrderCancelled
    | Deposited
    | Withdrawn
    | Locked
    | Unlocked
    | Transferred
    | LockedTransferred
    | Debited
    | TokensMoved
    | Noted
    | Unknown
)
