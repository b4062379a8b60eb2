"""GraphQL's integers and closed sets of words."""

from enum import Enum
from typing import NewType

import strawberry
from graphql import GraphQLError

from api.limits import MAX_INTEGER

Long = NewType("Long", int)


def parse_long(value: object) -> Long:
    """A caller's integer. Raises GraphQLError, which comes out with the argument's place."""
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MAX_INTEGER:
        raise GraphQLError(f"expected an integer of at most 53 bits, found {value!r:.40}")
    return Long(value)


LONG = strawberry.scalar(
    name="Long",
    description="An integer of up to 53 bits, as a JSON number.",
    serialize=int,
    parse_value=parse_long,
)


@strawberry.enum(description="Of an order; a trade has that of its taker.")
class Side(Enum):
    buy = "buy"
    sell = "sell"


@strawberry.enum
class OrderType(Enum):
    limit = "limit"
    market = "market"


@strawberry.enum
class TimeInForce(Enum):
    gtc = "gtc"
    ioc = "ioc"
    fok = "fok"
    post_only = "post_only"


@strawberry.enum(description="`orphaned`: the contract lost an open order from its queue.")
class OrderStatus(Enum):
    open = "open"
    partially_filled = "partially_filled"
    filled = "filled"
    cancelled = "cancelled"
    expired = "expired"
    rejected = "rejected"
    orphaned = "orphaned"
