"""What matching does to a book, one effect at a time: what an audit expects and a chain reports."""

import msgspec

from indexer.domain.order import OrderStatus
from indexer.domain.units import Price, Quantity


class Fill(msgspec.Struct, frozen=True, gc=False, tag_field="effect", tag="fill"):
    """The taker meets one maker, at the maker's price."""

    maker_order_id: int
    price: Price
    quantity: Quantity


class Expire(msgspec.Struct, frozen=True, gc=False, tag_field="effect", tag="expire"):
    """A resting order whose time is over leaves its queue."""

    order_id: int


class Cancel(msgspec.Struct, frozen=True, gc=False, tag_field="effect", tag="cancel"):
    """An order is cancelled: the taker's own maker, or what remains of an `ioc` taker."""

    order_id: int


class Close(msgspec.Struct, frozen=True, gc=False, tag_field="effect", tag="close"):
    """The contract's last word on the taker."""

    order_id: int
    filled: Quantity
    status: OrderStatus


class Revert(msgspec.Struct, frozen=True, gc=False, tag_field="effect", tag="revert"):
    """The contract refuses the order: no chain can report this, so met it never is."""

    reason: str


Effect = Fill | Expire | Cancel | Close | Revert
