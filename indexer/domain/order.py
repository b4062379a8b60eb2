"""Orders, the levels they queue in, and the trades they make.

These records name nothing that could name them, so the garbage collector need not look at them
(`gc=False`): there are hundreds of thousands, and looking was a third of the fold's time.
"""

from typing import Literal

import msgspec

from indexer.domain.units import Address, Amount, Hash, Price, Quantity

Side = Literal["buy", "sell"]
OrderType = Literal["limit", "market"]
TimeInForce = Literal["gtc", "ioc", "fok", "post_only"]
OrderStatus = Literal[
    "open", "partially_filled", "filled", "cancelled", "expired", "rejected", "orphaned"
]
"""`orphaned`: the contract lost an open order from its queue; its funds stay locked."""


class Order(msgspec.Struct, gc=False):
    """An order as the contract keeps it, with its pointers in the contract's linked list.

    Mutable, because only the mirror holds one; everybody else gets copies.
    """

    market: Address
    order_id: int
    account: Address
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    price: Price
    quantity: Quantity
    quantity_in_quote: bool
    expiry: int
    placed_block: int
    placed_log_index: int
    placed_at: int
    tx: Hash
    filled: Quantity = Quantity(0)
    quote_filled: Amount = Amount(0)
    status: OrderStatus = "open"
    updated_block: int = 0
    updated_log_index: int = 0
    queued: bool = False
    """A taker can reach it from the head of its level."""
    next: int = 0
    prev: int = 0

    @property
    def remaining(self) -> Quantity:
        return self.quantity - self.filled

    @property
    def working(self) -> bool:
        """It may still trade. What a market order did not fill never rests."""
        return self.type == "limit" and self.status in ("open", "partially_filled")


class Level(msgspec.Struct, gc=False):
    """One price of one side: the contract's queue record, and what a taker can really reach of it.

    `head`, `tail`, `count` and `volume` are the contract's own words, wrong ones included;
    `quantity` and `order_count` sum over the orders reachable from `head`.
    """

    market: Address
    side: Side
    price: Price
    head: int = 0
    tail: int = 0
    count: int = 0
    volume: int = 0
    quantity: Quantity = Quantity(0)
    order_count: int = 0
    broken: bool = False
    """A splice has gone wrong here: reachability is walked, not counted."""
    in_tree: bool = False
    """In the contract's price tree, where an emptied level may stay behind (a *stale* one)."""
    updated_block: int = 0
    updated_log_index: int = 0


class Trade(msgspec.Struct, frozen=True, gc=False):
    """One maker met one taker. Named by (block hash, log index), never by its contents.

    The maker's fee is in the token the maker receives: quote if the taker bought, else base.
    A fee is None when the chain did not report the transfer that carries it.
    """

    market: Address
    block_number: int
    log_index: int
    tx: Hash
    timestamp: int
    price: Price
    quantity: Quantity
    quote_amount: Amount
    taker_side: Side
    maker_order_id: int
    taker_order_id: int
    maker: Address
    taker: Address
    maker_fee: Amount | None
    taker_fee: Amount | None
    verified: bool | None = None
    """The rules foresaw exactly this trade; None where events cannot decide."""
    undecided: str | None = None
    """Why `verified` is None."""


class Candle(msgspec.Struct, gc=False):
    """One minute of one market; only minutes with trades exist. `open_time` is in seconds."""

    market: Address
    open_time: int
    open: Price
    high: Price
    low: Price
    close: Price
    volume: int = 0
    quote_volume: int = 0
    taker_buy_volume: int = 0
    taker_buy_quote_volume: int = 0
    trades: int = 0


CANDLE_SECONDS = 60
"""The one interval that is stored; the coarser ones are sums of it."""
