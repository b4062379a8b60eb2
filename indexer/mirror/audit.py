"""The second witness: the rules say what a placed order must do, and the chain's logs are held
against it, effect by effect.

The rules run in step with the logs. The next effect is foreseen from the state as it was before
that effect's own log, funds included, and never from the log itself. When chain and rules disagree
the chain wins: what happened is folded, the rules go on from there, and the disagreement is kept
as a `Divergence`.
"""

from typing import assert_never

from indexer.domain.block import Block
from indexer.domain.divergence import Divergence, DivergenceKind
from indexer.domain.effect import Cancel, Close, Effect, Expire, Fill, Revert
from indexer.domain.events import Event
from indexer.domain.order import Order
from indexer.domain.units import Address
from indexer.mirror.book import Book
from indexer.mirror.ledger import Ledger
from indexer.mirror.rules.terms import Clean, Funds, Rules, Run, crosses, opposite

INCOMPLETE = "the history of this market does not begin with its first order"


class Audit:
    """One block's matching under audit. One order matches at a time."""

    def __init__(self, rules: Rules, ledger: Ledger, block: Block) -> None:
        self.divergences: list[Divergence] = []
        self._rules = rules
        self._ledger = ledger
        self._block = block
        self._book: Book | None = None
        self._taker: Order | None = None
        self._run: Run | None = None
        self._due: Effect | None = None
        """What the rules foresee next."""
        self._ahead: list[Effect | None] = []
        """What they foresee after it, where a disagreement made us look further."""
        self._passed: Effect | None = None
        """Foreseen, but another came in its place."""
        self._last: Event | None = None
        self._strays: list[tuple[Book, Order, Order]] = []

    # -- what the fold tells us ------------------------------------------------------------------

    def begin(self, book: Book, taker: Order, lot: int, event: Event) -> None:
        """An order has been placed, and stands in the book as the contract put it there."""
        self.end()
        if undecided(book):
            return
        if taker.type == "limit" and taker.time_in_force in ("gtc", "post_only"):
            price = book.best(opposite(taker.side))
            if not price or not crosses(taker, price):
                return  # it rests, which is all that most orders do
        token = book.quote if taker.side == "buy" else book.base
        self._book, self._taker, self._last = book, taker, event
        self._run = self._rules.match(
            book, taker, self._block.timestamp, self._funds(taker.account, token), lot
        )
        self.go_on()

    def met(self, book: Book, taker_id: int, found: Effect, event: Event) -> bool:
        """Whether the rules foresaw what the chain says. To be asked before it is folded."""
        taker = self._taker
        if taker is None or taker.order_id != taker_id or self._book is not book:
            return self._outside(book, taker_id, found, event)
        self._last = event
        return found == self._due or self._disagree(taker, found, event)

    def go_on(self) -> None:
        """Let the rules go on after an effect that `met` has seen and the fold has folded."""
        self._due = self._ahead.pop(0) if self._ahead else self._next()

    def end(self) -> None:
        """Nothing more comes of the running order: whatever is still due is missing."""
        if self._run is not None:
            self._end_run(self._run)
        for book, order, by in self._strays:
            book.clean(order.side, order.price, by)
        self._strays.clear()

    def _end_run(self, run: Run) -> None:
        taker, event = self._taker, self._last
        assert taker is not None
        assert event is not None
        if self._due is not None:
            self._report(_MISSING[type(self._due)], taker, self._due, None, event)
        run.close()
        self._book = self._taker = self._run = self._due = self._passed = self._last = None
        self._ahead.clear()

    def running(self, book: Book) -> Order | None:
        """The order that is matching in `book`."""
        return self._taker if self._book is book else None

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

    def _part(self, book: Book, found: Effect, event: Event) -> bool:
        taker = self.running(book)
        if taker is None or self._due is None:
            return False
        if found != self._due and _subject(found) != _subject(self._due) and found != self._peek():
            self.end()
            return False
        self.met(book, taker.order_id, found, event)
        return True

    # -- disagreement ----------------------------------------------------------------------------

    def _disagree(self, taker: Order, found: Effect, event: Event) -> bool:
        """Name the difference, and decide what is due after it."""
        due = self._due
        following = self._peek()
        assert self._book is not None
        self._stray(self._book, found, taker)
        if due is not None and found == following:  # one was left out
            self._report(_MISSING[type(due)], taker, due, None, event)
            return True
        if found == self._passed:  # the one before was put in
            self._passed = None
            self._ahead.insert(0, due)
            return True
        if due is not None and (type(due) is type(found) or _subject(due) == _subject(found)):
            self._report(_difference(due, found), taker, due, found, event)
            self._passed = due
            return False
        self._report(_UNEXPECTED[type(found)], taker, due, found, event)
        self._ahead.insert(0, due)
        return False

    def _outside(self, book: Book, order_id: int, found: Effect, event: Event) -> bool:
        """An effect without a matching it could belong to."""
        if undecided(book):
            return False
        order = book.orders.rows[order_id]
        self._report(_UNEXPECTED[type(found)], order, None, found, event)
        self._stray(book, found, order)
        return False

    def _peek(self) -> Effect | None:
        if not self._ahead:
            self._ahead.append(self._next())
        return self._ahead[0]

    def _next(self) -> Effect | None:
        if self._run is None or self._taker is None or self._book is None:
            return None
        for effect in self._run:
            if isinstance(effect, Clean):
                self._book.clean(effect.side, effect.price, self._taker)
            else:
                return effect
        return None

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

    def _stray(self, book: Book, found: Effect, by: Order) -> None:
        """The rules do not clean a level that they did not expect to be emptied: `end` does."""
        order = book.orders.get(_subject(found))
        if order is not None and order is not by:
            self._strays.append((book, order, by))

    def _funds(self, account: Address, token: Address) -> Funds:
        return lambda: self._ledger.available(account, token)


def undecided(book: Book) -> str | None:
    """Why the events cannot decide what this book's orders must do, if they cannot."""
    return None if 1 in book.orders or not book.orders.rows else INCOMPLETE


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
