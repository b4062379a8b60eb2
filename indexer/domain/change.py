"""What a step does to the state, as a value with an inverse.

    Applied     one block's deltas and facts          apply(block)
    Rewound     the same of retracted blocks, undone  rewind(ancestor)
    Settled     nothing but a promise                 settle(block)

A record's delta holds its image before the block and after it; None where it did not exist.
"""

from collections.abc import Iterable
from typing import Any, Generic, Literal, TypeVar

import msgspec

from indexer.domain.balance import Balance
from indexer.domain.block import Block, BlockRef, Promotion
from indexer.domain.divergence import Divergence
from indexer.domain.market import Market, Token
from indexer.domain.order import Candle, Level, Order, OrderStatus, Side, Trade
from indexer.domain.units import Address, Amount, Hash, Price, Quantity

R = TypeVar("R")


class Delta(msgspec.Struct, Generic[R], frozen=True, gc=False):
    """One record before and after a block."""

    before: R | None
    after: R | None

    @property
    def record(self) -> R:
        """Either image, to read the record's identity from."""
        image = self.before if self.after is None else self.after
        assert image is not None, "a delta without an image"
        return image

    def inverse(self) -> "Delta[R]":
        return Delta(self.after, self.before)


OrderChangeKind = Literal["placed", "traded", "cancelled", "expired", "closed"]


class OrderChange(msgspec.Struct, frozen=True, gc=False):
    """One event in the life of one order, with the order's state behind it.

    `ordinal` counts those of a block.
    `trade_*` are set for `traded` only; `trade_fee` is in the token this order received.
    """

    market: Address
    order_id: int
    account: Address
    block_number: int
    ordinal: int
    log_index: int
    tx: Hash
    kind: OrderChangeKind
    status: OrderStatus
    filled: Quantity
    quote_filled: Amount
    trade_price: Price | None = None
    trade_quantity: Quantity | None = None
    trade_quote_amount: Amount | None = None
    trade_fee: Amount | None = None
    is_maker: bool | None = None


class Deltas(msgspec.Struct, frozen=True):
    """The records one block touched, kind by kind; each record at most once."""

    tokens: tuple[Delta[Token], ...] = ()
    markets: tuple[Delta[Market], ...] = ()
    orders: tuple[Delta[Order], ...] = ()
    levels: tuple[Delta[Level], ...] = ()
    balances: tuple[Delta[Balance], ...] = ()
    candles: tuple[Delta[Candle], ...] = ()

    def inverse(self) -> "Deltas":
        return Deltas(
            tokens=_inverses(self.tokens),
            markets=_inverses(self.markets),
            orders=_inverses(self.orders),
            levels=_inverses(self.levels),
            balances=_inverses(self.balances),
            candles=_inverses(self.candles),
        )


def _inverses(deltas: Iterable[Delta[R]]) -> tuple[Delta[R], ...]:
    return tuple(d.inverse() for d in deltas)


class StandingLevel(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A level of a whole book, as of the block that touched it last."""

    price: Price
    quantity: Quantity
    order_count: int
    updated_block: int


class WholeBook(msgspec.Struct, frozen=True):
    """A book as a block leaves it, best first: where reading one of a later block begins."""

    market: Address
    block_number: int
    bids: tuple[StandingLevel, ...]
    asks: tuple[StandingLevel, ...]


class BrokenQueue(msgspec.Struct, frozen=True):
    """Whom a taker meets at a level whose list was spliced: no event tells it."""

    market: Address
    side: Side
    price: Price
    block_number: int
    order_ids: tuple[int, ...]


class Touched(msgspec.Struct, frozen=True):
    """What a block touched, as it left it; a level that went, as it went.

    Of a final block they are the mirror's own: to be read before the next one. Its orders are not
    told block by block, only by `Unsaved`.
    """

    orders: list[Order] = []
    levels: list[Level] = []
    balances: list[Balance] = []


class Applied(msgspec.Struct, frozen=True):
    """What one block did, and of what it left behind that which no delta tells.

    A final block, which nobody takes back, has no deltas.
    """

    block: Block
    deltas: Deltas
    trades: tuple[Trade, ...] = ()
    order_changes: tuple[OrderChange, ...] = ()
    divergences: tuple[Divergence, ...] = ()
    books: tuple[WholeBook, ...] = ()
    queues: tuple[BrokenQueue, ...] = ()
    touched: Touched = Touched()


class Unsaved(msgspec.Struct, frozen=True):
    """The records that final blocks have touched, as the last of them left them; by kind.

    They are the mirror's own: to be read before the next block.
    """

    records: dict[str, list[Any]]
    gone: list[Level]
    """Levels that are no more, as they went."""


class Rewound(msgspec.Struct, frozen=True):
    """Retracted blocks, newest first, each as the change it once made."""

    ancestor: BlockRef
    retracted: tuple[Applied, ...]

    @property
    def depth(self) -> int:
        """Blocks taken back."""
        return len(self.retracted)


class Settled(msgspec.Struct, frozen=True):
    """Blocks that have become safe or final, oldest first, each as the change it made."""

    block: BlockRef
    promoted: tuple[Applied, ...]
    finality: Promotion = "finalized"


Change = Applied | Rewound | Settled
