"""The second witness: what the rules say a placed order must do, held against the chain's logs.

They are compared effect by effect. As long as both agree the rules run in step with the logs: the
next effect is foreseen from the state before that effect's own logs, funds included, and never from
those logs. (So a repayment or a changed fee rate in the middle of an order's matching is known in
time.) At the first disagreement the chain wins and is folded, and the rest of the order's effects
are foreseen on a draft of the book as both last knew it: each later log is still judged on its own.
The next order is foreseen from the chain's state again.
"""

from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter
from typing import assert_never

from indexer.domain.block import Block
from indexer.domain.divergence import Divergence, DivergenceKind
from indexer.domain.effect import Cancel, Close, Effect, Expire, Fill, Revert
from indexer.domain.events import AnyEvent, Event, OrderPlaced
from indexer.domain.market import Market
from indexer.domain.order import Order, Side
from indexer.domain.units import Address, Price
from indexer.mirror.book import Book
from indexer.mirror.draft import Draft, Purse, foresee
from indexer.mirror.ledger import Ledger
from indexer.mirror.rules.terms import Clean, Funds, Rules, Run, View

INCOMPLETE = "the history of this market does not begin with its first order"

MOST_MISSING = 16
"""Effects that an order's logs leave out and are told of it; where there are more, there is no end
of them: who has less than his logs say may ask for a whole book, and get nothing."""


class Audit:
    """One block's matching under audit. One order matches at a time."""

    def __init__(
        self, rules: Rules, ledger: Ledger, block: Block, events: Sequence[AnyEvent]
    ) -> None:
        self.divergences: list[Divergence] = []
        self._rules = rules
        self._ledger = ledger
        self._block = block
        self._events = events
        self._matching: _Matching | None = None
        self._due: Effect | None = None
        """What the rules foresee next."""
        self._dirty: list[tuple[Book, Side, Price, Order]] = []
        """Levels to be cleaned after a disagreement, and the order that emptied them."""

    # -- what the fold tells us ------------------------------------------------------------------

    def begin(self, book: Book, taker: Order, market: Market, event: Event) -> None:
        """An order has been placed, and stands in the book as the contract put it there."""
        if self._matching is not None or self._dirty:
            self.end()
        may_rest = taker.type == "limit" and taker.time_in_force in ("gtc", "post_only")
        if may_rest and not book.meets(taker):
            return  # it rests, which is all that most orders do
        if undecided(book):
            return
        token = book.quote if taker.side == "buy" else book.base
        view = View(book, self._funds(taker.account, token))
        run = self._rules.match(view, taker, self._block.timestamp, market.lot_size or 1)
        self._matching = _Matching(book, taker, market, view, run, event)
        self.go_on()

    def met(self, book: Book, taker_id: int, found: Effect, event: Event) -> bool:
        """Whether the rules foresaw what the chain says. To be asked before it is folded."""
        matching = self._matching
        if matching is None or matching.taker.order_id != taker_id or matching.book is not book:
            return self._outside(book, taker_id, found, event)
        matching.last = event
        if found == self._due and matching.rest is None:
            return True
        return self._disagree(matching, found, event)

    def go_on(self) -> None:
        """Let the rules go on after an effect that `met` has seen and the fold has folded."""
        matching = self._matching
        if matching is None:
            return
        if matching.rest is not None:
            self._due = matching.rest[0] if matching.rest else None
            return
        if matching.taker.type == "market":
            matching.available = matching.view.funds()
        for effect in matching.run:
            if not isinstance(effect, Clean):
                self._due = effect
                return
            matching.book.clean(effect.side, effect.price, matching.taker)
        self._due = None

    def end(self) -> None:
        """Nothing more comes of the running order: whatever is still due is missing."""
        matching = self._matching
        if matching is not None:
            if self._due is not None:
                for due in self._foreseen(matching)[:MOST_MISSING]:
                    self._missing(matching, due)
            matching.run.close()
            self._matching = self._due = None
        if self._dirty:
            for book, side, price, by in self._dirty:
                book.clean(side, price, by)
            self._dirty.clear()

    def running(self, book: Book) -> Order | None:
        """The order that is matching in `book`."""
        matching = self._matching
        return matching.taker if matching is not None and matching.book is book else None

    def cancelled(self, book: Book, order: Order, event: Event) -> bool:
        """Ask for an OrderCancelled: part of the matching, or somebody's own wish?

        Only while something is due can it be a part. True if the rules are to go on.
        """
        return self._part(book, Cancel(order.order_id), event)

    def expired(self, book: Book, order: Order, event: Event) -> bool:
        """Ask for an expiry. Where levels do not stay, anybody may also ask the book for one."""
        found = Expire(order.order_id)
        if self._part(book, found, event):
            return True
        if self._rules.LEVELS_STAY or order.expiry >= self._block.timestamp:
            self._outside(book, order.order_id, found, event)
        return False

    def contradicted(self, order: Order, found: Effect, event: Event) -> None:
        """Tell of an effect that this book cannot have had: its order queues nowhere."""
        self._report("impossible", order, None, found, event)

    def _part(self, book: Book, found: Effect, event: Event) -> bool:
        matching, due = self._matching, self._due
        if matching is None or matching.book is not book or due is None:
            return False
        theirs = found == due or _subject(found) == _subject(due)
        if not theirs and found not in self._foreseen(matching, event)[:2]:
            self.end()
            return False
        self.met(book, matching.taker.order_id, found, event)
        return True

    # -- disagreement ----------------------------------------------------------------------------

    def _foreseen(self, matching: "_Matching", event: Event | None = None) -> list[Effect]:
        """All that is due, from here to the order's end, or as much as `event` and later ones say.

        Each of them is held against two effects.
        """
        if matching.rest is None:
            most = MOST_MISSING + (2 * self._to_come(event) if event is not None else 0)
            matching.rest = [] if self._due is None else self._draft(matching, self._due, most)
        return matching.rest

    def _to_come(self, event: Event) -> int:
        """Logs of the running order from this one on, or a few more."""
        events = self._events
        first = bisect_right(events, event.log_index, key=_LOG_INDEX)
        for at in range(first, len(events)):
            if events[at].tx != event.tx or isinstance(events[at], OrderPlaced):
                return 1 + at - first
        return 1 + len(events) - first

    def _draft(self, matching: "_Matching", due: Effect, most: int) -> list[Effect]:
        book, taker, view = matching.book, matching.taker, matching.view
        draft = Draft(book)
        purse = Purse(matching.available, book.base_unit, self._refund_rate(matching))
        view.book, view.funds = draft, lambda: purse.available
        draft.perform(taker, due)
        purse.pay(taker, due)
        rest = [due]
        for effect in foresee(draft, matching.run, taker, purse):
            if isinstance(effect, Clean):
                self._dirty.append((book, effect.side, effect.price, taker))
            elif len(rest) == most:
                break
            else:
                rest.append(effect)
        return rest

    def _refund_rate(self, matching: "_Matching") -> int | None:
        receives = matching.taker.account == self._ledger.fee_receiver
        return matching.market.maker_fee_per_mille if receives else 0

    def _disagree(self, matching: "_Matching", found: Effect, event: Event) -> bool:
        """Name the difference, and decide what is due after it."""
        rest = self._foreseen(matching, event)
        self._stray(matching.book, found, matching.taker)
        if found in rest[:2]:
            while rest.pop(0) != found:  # the one before it was left out
                self._missing(matching, self._due)
            return True
        if found == matching.passed:  # the one before it was put in
            matching.passed = None
            return True
        due = rest[0] if rest else None
        if due is not None and (type(due) is type(found) or _subject(due) == _subject(found)):
            self._report(_difference(due, found), matching.taker, due, found, event)
            matching.passed = rest.pop(0)
            return False
        self._report(_UNEXPECTED[type(found)], matching.taker, due, found, event)
        return False

    def _outside(self, book: Book, order_id: int, found: Effect, event: Event) -> bool:
        """An effect without a matching it could belong to."""
        if undecided(book):
            return False
        order = book.orders.rows[order_id]
        self._report(_UNEXPECTED[type(found)], order, None, found, event)
        self._stray(book, found, order)
        return False

    def _stray(self, book: Book, found: Effect, by: Order) -> None:
        """The rules do not clean a level that they did not expect to be emptied: `end` does."""
        order = book.orders.get(_subject(found))
        if order is not None and order is not by:
            self._dirty.append((book, order.side, order.price, by))

    def _missing(self, matching: "_Matching", due: Effect | None) -> None:
        assert due is not None, "nothing is due"
        self._report(_MISSING[type(due)], matching.taker, due, None, matching.last)

    def _report(
        self,
        kind: DivergenceKind,
        order: Order,
        expected: Effect | None,
        found: Effect | None,
        event: Event,
    ) -> None:
        self.divergences.append(
            Divergence(
                order.market,
                self._block.number,
                event.log_index,
                event.tx,
                order.order_id,
                kind,
                expected,
                found,
            )
        )

    def _funds(self, account: Address, token: Address) -> Funds:
        return lambda: self._ledger.available(account, token)


class _Matching:
    """One order, from its OrderPlaced to its last effect."""

    __slots__ = ("available", "book", "last", "market", "passed", "rest", "run", "taker", "view")

    def __init__(
        self, book: Book, taker: Order, market: Market, view: View, run: Run, last: Event
    ) -> None:
        self.book = book
        self.taker = taker
        self.market = market
        self.view = view
        self.run = run
        self.last = last
        """The newest log of it."""
        self.available = 0
        """What a market order had to spend when its next effect was foreseen."""
        self.rest: list[Effect] | None = None
        """All that is due, foreseen on a draft; None while chain and rules agree."""
        self.passed: Effect | None = None
        """What was due, but another came in its place."""


_LOG_INDEX = attrgetter("log_index")


def undecided(book: Book) -> str | None:
    """Why the events cannot decide what this book's orders must do, if they cannot."""
    return None if 1 in book.orders.rows or not book.newest else INCOMPLETE


_MISSING: dict[type[Effect], DivergenceKind] = {
    Fill: "missing_fill",
    Expire: "missing_expiry",
    Cancel: "missing_cancel",
    Close: "missing_status",
    Revert: "missing_revert",
}
_UNEXPECTED: dict[type[Effect], DivergenceKind] = {
    Fill: "unexpected_fill",
    Expire: "unexpected_expiry",
    Cancel: "unexpected_cancel",
    Close: "unexpected_status",
}


def _subject(effect: Effect) -> int:
    """The order it happens to."""
    match effect:
        case Fill(maker_order_id=order_id):
            return order_id
        case Expire(order_id=order_id) | Cancel(order_id=order_id) | Close(order_id=order_id):
            return order_id
        case Revert():
            return 0
        case _:
            assert_never(effect)


def _difference(due: Effect, found: Effect) -> DivergenceKind:
    if isinstance(due, Fill) and isinstance(found, Fill):
        if due.maker_order_id != found.maker_order_id:
            return "wrong_maker"
        return "wrong_price" if due.price != found.price else "wrong_quantity"
    if isinstance(due, Close):
        return "wrong_status"
    return _UNEXPECTED[type(found)]
