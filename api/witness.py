"""The second witness in GraphQL: what the rules found, and what they would do with an order."""
# mypy: disable-error-code="untyped-decorator"

from fractions import Fraction
from typing import Annotated, Any, Protocol

import strawberry

from api import arguments, divergences, view
from api.books import book_at, book_at_head
from api.errors import BadInput
from api.limits import DEFAULT_ROWS, MAX_ROWS, MAX_TEXT_CHARS
from api.loaders import Loaders
from api.scalars import Long, OrderStatus, Side, TimeInForce
from api.view import AfterTx, Final, Pin
from indexer.domain import execution as ex
from indexer.domain.listing import Listing
from indexer.domain.units import Price, Quantity, to_decimal
from indexer.mirror.simulate import MOST_INTENTS, BadSimulation, simulate
from indexer.store.snapshot import Snapshot

BPS_PLACES = 4
"""Decimals of a price impact in basis points; it is rounded half to even."""


class Reading(Protocol):
    """What these resolvers want of a request's context."""

    snapshot: Snapshot
    loaders: Loaders


Info = strawberry.Info[Any, None]


@strawberry.input(
    description="An order to ask about: with a price a limit order, else a market one."
)
class OrderIntent:
    side: Side
    quantity: str = strawberry.field(
        description="Decimal, in base tokens; in quote tokens for a market buy on scalex."
    )
    price: str | None = strawberry.field(default=None, description="Decimal.")
    account: str | None = strawberry.field(
        default=None, description="Whose funds and own orders count; without, nobody's."
    )
    time_in_force: TimeInForce = TimeInForce.gtc
    expiry: Long | None = strawberry.field(
        default=None, description="Unix seconds: the last at which it may trade."
    )


@strawberry.type(description="One maker that it would meet.")
class ForeseenFill:
    maker_order_id: Long
    maker: str
    price: str
    raw_price: str
    quantity: str
    raw_quantity: str
    quote_amount: str
    raw_quote_amount: str
    maker_fee: str | None = strawberry.field(description="Null while the rates are not known.")
    taker_fee: str | None


@strawberry.type(description="What would stay in the book, and behind what.")
class Resting:
    price: str
    quantity: str
    position: int = strawberry.field(description="1 is the head of the queue.")
    quantity_ahead: str


@strawberry.type(description="What would come of an order. A rejected one leaves no trace.")
class Execution:
    status: OrderStatus
    rejection: str | None = strawberry.field(description="The contract's word for why not.")
    fills: list[ForeseenFill]
    filled: str
    raw_filled: str
    quote_filled: str
    raw_quote_filled: str
    remaining: str
    raw_remaining: str
    average_price: str | None = strawberry.field(description="Rounded to the quote's decimals.")
    price_impact_bps: str | None = strawberry.field(
        description="How much worse than the best price before, in basis points."
    )
    fee: str | None = strawberry.field(description="The taker's, of the token it receives.")
    resting: Resting | None
    cancelled: list[Long] = strawberry.field(description="Own orders that it would take out.")
    expired: list[Long]


@strawberry.type(description="Executions at one block.")
class Simulation:
    block_number: Long
    block_hash: str
    executions: list[Execution]


@strawberry.type
class WitnessQuery:
    """The roots of this module; the schema's Query inherits them."""

    @strawberry.field(description="Where the chain and its rules disagree, newest first.")
    async def divergences(
        self,
        info: Info,
        market: str | None = None,
        acknowledged: bool | None = None,
        first: Annotated[int, strawberry.argument(description=f"1 to {MAX_ROWS}.")] = DEFAULT_ROWS,
        after: str | None = None,
        block: Pin = None,
        finality: Final = None,
        after_tx: AfterTx = None,
    ) -> list[divergences.Divergence]:
        context: Reading = info.context
        info.context.lasts = False  # acknowledging moves no block
        named = None
        if market is not None:
            if arguments.is_address(market):  # a balance manager is no market, but may be asked for
                named = arguments.address("market", market)
            else:
                named = (await context.loaders.listing("market", market)).market.address
        at = await view.resolve(context.snapshot, block, finality, after_tx)
        return await divergences.read(
            context.snapshot,
            market=named,
            acknowledged=acknowledged,
            after=arguments.number("after", after),
            limit=arguments.rows("first", first),
            at=at,
        )

    @strawberry.field(
        description="What would come of orders, sent one after the other at the head's time, or "
        "at that of a past block. Nothing is sent."
    )
    async def simulate_order(
        self,
        info: Info,
        market: str,
        orders: list[OrderIntent],
        block: Pin = None,
        finality: Final = None,
        after_tx: AfterTx = None,
    ) -> Simulation:
        context: Reading = info.context
        if not 1 <= len(orders) <= MOST_INTENTS:
            raise BadInput("orders", f"1 to {MOST_INTENTS} of them", len(orders))
        listing = await context.loaders.listing("market", market)
        at = await view.resolve(context.snapshot, block, finality, after_tx)
        if at is None:
            asking = {
                arguments.address("account", o.account) for o in orders if o.account is not None
            }
            mirror = await book_at_head(context.snapshot, listing, asking)
        else:
            mirror = await book_at(context.snapshot, at)
        in_quote = mirror.deployment.protocol == "scalex"
        intents = [_intent(order, listing, in_quote) for order in orders]
        try:
            found = simulate(mirror, listing.market.address, intents, mirror.head.timestamp)
        except BadSimulation as error:  # the market did not exist yet
            raise BadInput("block", "one after the market's creation", at) from error
        return Simulation(
            block_number=Long(mirror.head.number),
            block_hash=mirror.head.hash,
            executions=[
                _execution(execution, intent, listing, in_quote)
                for execution, intent in zip(found, intents, strict=True)
            ],
        )


def _intent(order: OrderIntent, listing: Listing, in_quote: bool) -> ex.Intent:
    counted = _counted_in_quote(order.side.value, order.price is None, in_quote)
    token = listing.quote if counted else listing.base
    price = None if order.price is None else _units("price", order.price, listing.quote.decimals)
    return ex.Intent(
        order.side.value,
        Quantity(_units("quantity", order.quantity, token.decimals)),
        None if price is None else Price(price),
        None if order.account is None else arguments.address("account", order.account),
        order.time_in_force.value,
        arguments.time("expiry", order.expiry),
    )


def _counted_in_quote(side: str, is_market: bool, in_quote: bool) -> bool:
    return in_quote and is_market and side == "buy"


def _units(field: str, text: str, decimals: int) -> int:
    """A positive decimal in a token's units, exactly."""
    whole, _, fraction = text.partition(".")
    digits = whole + fraction.ljust(decimals, "0")
    fits = len(text) <= MAX_TEXT_CHARS and len(fraction) <= decimals and whole != ""
    units = int(digits) if fits and digits.isascii() and digits.isdigit() else 0
    if not 0 < units < 1 << 128:
        raise BadInput(field, f"a positive decimal with at most {decimals} decimals", text)
    return units


def _execution(
    found: ex.Execution, intent: ex.Intent, listing: Listing, in_quote: bool
) -> Execution:
    counted = _counted_in_quote(intent.side, intent.price is None, in_quote)
    remains = listing.quote if counted else listing.base
    receives = listing.base if intent.side == "buy" else listing.quote
    rest = found.resting
    return Execution(
        status=OrderStatus(found.status),
        rejection=found.rejection,
        fills=[_fill(fill, intent, listing) for fill in found.fills],
        filled=listing.quantity(found.filled),
        raw_filled=str(found.filled),
        quote_filled=listing.quote_amount(found.quote_filled),
        raw_quote_filled=str(found.quote_filled),
        remaining=to_decimal(found.remaining, remains.decimals),
        raw_remaining=str(found.remaining),
        average_price=_ratio(found.average_price, 0, listing.quote.decimals),
        price_impact_bps=_ratio(found.price_impact_bps, BPS_PLACES, BPS_PLACES),
        fee=None if found.fee is None else to_decimal(found.fee, receives.decimals),
        resting=None
        if rest is None
        else Resting(
            price=listing.price(rest.price),
            quantity=listing.quantity(rest.quantity),
            position=rest.position,
            quantity_ahead=listing.quantity(rest.quantity_ahead),
        ),
        cancelled=[Long(order_id) for order_id in found.cancelled],
        expired=[Long(order_id) for order_id in found.expired],
    )


def _fill(fill: ex.ForeseenFill, intent: ex.Intent, listing: Listing) -> ForeseenFill:
    got, paid = listing.base.decimals, listing.quote.decimals
    if intent.side == "sell":
        got, paid = paid, got
    return ForeseenFill(
        maker_order_id=Long(fill.maker_order_id),
        maker=fill.maker,
        price=listing.price(fill.price),
        raw_price=str(fill.price),
        quantity=listing.quantity(fill.quantity),
        raw_quantity=str(fill.quantity),
        quote_amount=listing.quote_amount(fill.quote_amount),
        raw_quote_amount=str(fill.quote_amount),
        maker_fee=None if fill.maker_fee is None else to_decimal(fill.maker_fee, paid),
        taker_fee=None if fill.taker_fee is None else to_decimal(fill.taker_fee, got),
    )


def _ratio(ratio: ex.Ratio | None, places: int, decimals: int) -> str | None:
    """An exact number times 10^places, rounded to an integer of `decimals` decimals, as text."""
    return None if ratio is None else to_decimal(round(Fraction(*ratio) * 10**places), decimals)
