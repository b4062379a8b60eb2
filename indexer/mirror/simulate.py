"""What would come of an order, or of several in a row: the rules, driven over drafts.

The chain's part is played by the draft of a book and by funds on top of the ledger; both are
thrown away, so a simulation changes nothing.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import assert_never

from indexer.domain.effect import Cancel, Close, Effect, Expire, Fill, Revert
from indexer.domain.execution import Execution, ForeseenFill, Intent, Ratio, Resting
from indexer.domain.market import Market
from indexer.domain.order import Order, OrderStatus
from indexer.domain.units import Address, Amount, Hash, Price, Quantity, quote_amount
from indexer.mirror.book import Book, settle_status
from indexer.mirror.draft import MOST_EFFECTS, Draft
from indexer.mirror.fees import fee
from indexer.mirror.fold import Mirror
from indexer.mirror.funds import Funds, nobody
from indexer.mirror.rules import RULES
from indexer.mirror.rules.terms import Clean, View, opposite

MOST_INTENTS = 100
"""Orders in one simulation."""

LIFETIME_S = 7_776_000
"""Every protocol's orders live 90 days unless they say otherwise."""


class BadSimulation(ValueError):
    """A simulation that cannot be run; the message says what was expected."""


def simulate(
    mirror: Mirror, market: Address, intents: Sequence[Intent], now: int
) -> list[Execution]:
    """One execution for each intent, as if they were sent one after the other at block time `now`.

    Each meets what those before it left. Raises BadSimulation.
    """
    if market not in mirror.books:
        raise BadSimulation(f"market: expected one that was created, found {market}")
    if len(intents) > MOST_INTENTS:
        raise BadSimulation(f"orders: expected at most {MOST_INTENTS}, found {len(intents)}")
    record = mirror.markets.rows[market]
    book: Book = mirror.books[market]
    funds = Funds(mirror.ledger, record, book.base_unit, RULES[mirror.deployment.protocol])
    executions = []
    for number, intent in enumerate(intents, start=1):
        one = _Simulation(mirror, record, book, funds, intent, -number, now)
        execution = one.run()
        if execution.rejection is None:
            book, funds = one.draft, one.funds
        executions.append(execution)
    return executions


class _Simulation:
    """One intent. Its draft and funds are the state after it."""

    def __init__(
        self,
        mirror: Mirror,
        market: Market,
        book: Book,
        funds: Funds,
        intent: Intent,
        order_id: int,
        now: int,
    ) -> None:
        self.draft = Draft(book)
        self.funds = funds.copy()
        self._rules = RULES[mirror.deployment.protocol]
        self._market = market
        self._intent = intent
        self._now = now
        self._top = _top(book, intent)
        self._order = self._build(intent, order_id, mirror.deployment.protocol == "scalex")
        self._fills: list[ForeseenFill] = []
        self._cancelled: list[int] = []
        self._expired: list[int] = []
        self._closed: OrderStatus | None = None

    def _build(self, intent: Intent, order_id: int, buys_in_quote: bool) -> Order:
        """The order as it would be placed. Its id is no contract's: the real one is not known."""
        is_market = intent.price is None
        force = intent.time_in_force
        return Order(
            market=self._market.address,
            order_id=order_id,
            account=nobody(-order_id) if intent.account is None else intent.account,
            side=intent.side,
            type="market" if is_market else "limit",
            time_in_force="ioc" if is_market and force == "gtc" else force,
            price=Price(0) if intent.price is None else intent.price,
            quantity=intent.quantity,
            quantity_in_quote=is_market and intent.side == "buy" and buys_in_quote,
            expiry=self._now + LIFETIME_S if intent.expiry is None else intent.expiry,
            placed_block=0,
            placed_log_index=0,
            placed_at=self._now,
            tx=Hash(""),
        )

    def run(self) -> Execution:
        order, draft = self._order, self.draft
        refusal = self._rules.refuses(order, self._market, draft.base_unit, self._now)
        if refusal is None and order.type == "limit" and not self.funds.lock(order):
            refusal = "InsufficientBalance"
        if refusal is not None:
            return self._rejected(refusal)
        if order.type == "limit":
            draft.append(order)
            settle_status(order)
        else:
            draft.orders.add(order.order_id, order)
        view = View(draft, lambda: self.funds.available_to(order))
        lot = self._market.lot_size or 1
        for count, effect in enumerate(self._rules.match(view, order, self._now, lot)):
            if isinstance(effect, Revert):
                return self._rejected(effect.reason)
            if count == MOST_EFFECTS:
                return self._rejected("out of gas")
            self._happen(effect)
            if not self._rules.CUTS_MARKET_ORDERS and self.funds.available_to(order) < 0:
                return self._rejected("InsufficientBalance")
        return self._outcome()

    def _happen(self, effect: Effect | Clean) -> None:
        order, draft = self._order, self.draft
        match effect:
            case Fill(maker_order_id=maker_id, price=price, quantity=quantity):
                maker = draft.orders.rows[maker_id]
                self._fills.append(self._fill(maker, price, quantity))
                self.funds.settle(order, maker, price, quantity)
            case Cancel(order_id=order_id):
                self.funds.release(draft.orders.rows[order_id])
                if order_id != order.order_id:
                    self._cancelled.append(order_id)
            case Expire(order_id=order_id):
                if self._rules.RELEASES_EXPIRED:
                    self.funds.release(draft.orders.rows[order_id])
                self._expired.append(order_id)
            case Close(status=status):
                self._closed = status
            case Clean() | Revert():
                pass
            case _:
                assert_never(effect)
        draft.perform(order, effect)

    def _fill(self, maker: Order, price: Price, quantity: Quantity) -> ForeseenFill:
        amount = quote_amount(quantity, price, self.draft.base_unit)
        spent, received = (amount, quantity) if self._intent.side == "buy" else (quantity, amount)
        maker_rate, taker_rate = self._market.maker_fee_per_mille, self._market.taker_fee_per_mille
        return ForeseenFill(
            maker.order_id,
            maker.account,
            price,
            quantity,
            amount,
            None if maker_rate is None else Amount(fee(spent, maker_rate)),
            None if taker_rate is None else Amount(fee(received, taker_rate)),
        )

    # -- telling ---------------------------------------------------------------------------------

    def _rejected(self, reason: str) -> Execution:
        return Execution("rejected", remaining=self._intent.quantity, rejection=reason)

    def _outcome(self) -> Execution:
        order = self.draft.orders.rows[self._order.order_id]
        quote = Amount(sum(fill.quote_amount for fill in self._fills))
        average = Fraction(quote * self.draft.base_unit, order.filled) if order.filled else None
        fees = [fill.taker_fee for fill in self._fills]
        status = order.status
        if order.type == "market":
            status = self._closed or _unclosed(order)
        return Execution(
            status=status,
            fills=tuple(self._fills),
            filled=order.filled,
            quote_filled=quote,
            remaining=order.quantity - (quote if order.quantity_in_quote else order.filled),
            average_price=_ratio(average),
            price_impact_bps=_ratio(self._impact(average)),
            fee=None if None in fees else Amount(sum(f for f in fees if f is not None)),
            resting=self._resting(order),
            cancelled=tuple(self._cancelled),
            expired=tuple(self._expired),
        )

    def _impact(self, average: Fraction | None) -> Fraction | None:
        if average is None or not self._top:
            return None
        worse = average - self._top if self._intent.side == "buy" else self._top - average
        return worse / self._top * 10_000

    def _resting(self, order: Order) -> Resting | None:
        if order.type == "market" or order.status not in ("open", "partially_filled"):
            return None
        ahead = []
        for other in self.draft.queue(order.side, order.price):
            if other.order_id == order.order_id:
                break
            ahead.append(other.remaining)
        return Resting(order.price, order.remaining, len(ahead) + 1, Quantity(sum(ahead)))


def _top(book: Book, intent: Intent) -> Price:
    """The best price on offer to it; 0 if there is none."""
    side = opposite(intent.side)
    price = book.best(side)
    while price:
        level = book.levels.get((side, price))
        if level is not None and level.quantity > 0:
            return price
        price = book.worse(side, price)
    return price


def _unclosed(order: Order) -> OrderStatus:
    """Gtx never says how a market order ended."""
    if order.filled >= order.quantity:
        return "filled"
    return "partially_filled" if order.filled else "expired"


def _ratio(number: Fraction | None) -> Ratio | None:
    return None if number is None else (number.numerator, number.denominator)
