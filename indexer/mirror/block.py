"""One block being folded: every event finds the record it changes.

Rules that hold for every protocol (each is a fault seen in other indexers):

- Fills accumulate from trades only; a status assertion repeats what a trade has already said.
- Depth follows from orders: a level is the sum of its queue.
- A trade's fees are in the two transfers its own book made just before it.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, assert_never

from indexer.domain import events as ev
from indexer.domain.block import Block
from indexer.domain.change import (
    Applied,
    BrokenQueue,
    Delta,
    Deltas,
    OrderChange,
    OrderChangeKind,
)
from indexer.domain.effect import Cancel, Close, Expire, Fill
from indexer.domain.order import Order, OrderStatus, Trade
from indexer.domain.units import ZERO_ADDRESS, Address, Amount, Hash, Quantity, quote_amount
from indexer.mirror.audit import Audit, undecided
from indexer.mirror.book import Book, settle_status
from indexer.mirror.candles import add_trade
from indexer.mirror.errors import FoldError, Impossible
from indexer.mirror.fees import learn
from indexer.mirror.rules import RULES
from indexer.mirror.whole import broken_queues, is_due, whole_books

if TYPE_CHECKING:
    from indexer.mirror.fold import Mirror


class BlockFold:
    """One block being folded. Lives for one `Mirror.apply`."""

    def __init__(self, mirror: "Mirror", block: Block) -> None:
        self._mirror = mirror
        self._block = block
        self._trades: list[Trade] = []
        self._order_changes: list[OrderChange] = []
        self._touched: dict[Address, Book] = {}
        self._tx = Hash("")
        self._fees: dict[tuple[Address, bool], Amount] = {}
        self._unclosed: list[Order] = []
        self._due: list[tuple[Book, int]] = []
        self._queues: list[BrokenQueue] = []
        self._audit = Audit(RULES[mirror.deployment.protocol], mirror.ledger, block)

    def run(self, events: Iterable[ev.AnyEvent]) -> Applied:
        for event in events:
            try:
                if event.tx != self._tx:
                    self._end_tx()
                    self._tx = event.tx
                self._apply(event)
            except Impossible as cause:
                raise FoldError(self._block, event, cause) from cause
        self._end_tx()
        return Applied(
            self._block,
            self._take_deltas(),
            tuple(self._trades),
            tuple(self._order_changes),
            tuple(self._audit.divergences),
            whole_books(self._block.number, self._due) if self._due else (),
            tuple(self._queues),
        )

    def _take_deltas(self) -> Deltas:
        mirror = self._mirror
        orders: list[Delta[Order]] = []
        levels = []
        for book in self._touched.values():
            orders += book.orders.take_deltas()
            of_book = book.levels.take_deltas()
            levels += of_book
            self._queues += broken_queues(self._block.number, book, of_book)
        return Deltas(
            tuple(mirror.tokens.take_deltas()),
            tuple(mirror.markets.take_deltas()),
            tuple(orders),
            tuple(levels),
            tuple(mirror.ledger.balances.take_deltas()),
            tuple(mirror.candles.take_deltas()),
        )

    def _apply(self, event: ev.AnyEvent) -> None:
        match event:
            case ev.Locked() | ev.Unlocked():  # first: they are a third of all
                self._mirror.ledger.apply(self._block.number, event)
            case ev.OrderPlaced():
                self._place(event)
            case ev.Traded():
                self._trade(event)
            case ev.StatusAsserted():
                self._assert_status(event)
            case ev.OrderCancelled():
                self._cancel(event)
            case ev.Transferred() | ev.LockedTransferred():
                taker_pays = isinstance(event, ev.LockedTransferred)
                self._fees[event.operator, taker_pays] = event.fee
                self._mirror.ledger.apply(self._block.number, event)
            case ev.Deposited() | ev.Withdrawn() | ev.Debited() | ev.TokensMoved():
                self._mirror.ledger.apply(self._block.number, event)
            case ev.MarketCreated():
                self._mirror.create_market(self._block, event)
            case ev.RulesUpdated():
                self._update_rules(event)
            case ev.Noted() | ev.Unknown():
                pass  # stored and counted, without effect
            case _:
                assert_never(event)

    def _book(self, market: Address) -> Book:
        book = self._mirror.books.get(market)
        if book is None:
            raise Impossible(f"an order event of {market}", "a market that was created")
        self._touched[market] = book
        return book

    def _order(self, book: Book, order_id: int, event: ev.Event) -> Order:
        if order_id not in book.orders:
            raise Impossible(f"order {order_id} of {book.market}", "an order that was placed")
        order = book.orders.touch(order_id)
        order.updated_block = self._block.number
        order.updated_log_index = event.log_index
        return order

    # -- the life of an order --------------------------------------------------------------------

    def _place(self, event: ev.OrderPlaced) -> None:
        book = self._book(event.address)
        if event.order_id in book.orders:
            raise Impossible(f"order {event.order_id} placed again", "each order placed once")
        book.newest = max(book.newest, event.order_id)
        if is_due(event.order_id):
            self._due.append((book, event.order_id))
        protocol = self._mirror.deployment.protocol
        is_market = event.type == "market"
        order = Order(
            market=event.address,
            order_id=event.order_id,
            account=event.account,
            side=event.side,
            type=event.type,
            time_in_force=event.time_in_force,
            price=event.price,
            quantity=event.quantity,
            quantity_in_quote=is_market and event.side == "buy" and protocol == "scalex",
            expiry=event.expiry,
            placed_block=self._block.number,
            placed_log_index=event.log_index,
            placed_at=self._block.timestamp,
            tx=event.tx,
            updated_block=self._block.number,
            updated_log_index=event.log_index,
        )
        if is_market:
            book.orders.add(order.order_id, order)
            if protocol == "gtx":
                self._unclosed.append(order)
        else:
            book.append(order)
            settle_status(order)
        self._tell("placed", order, event)
        self._audit.begin(book, order, self._mirror.markets.rows[book.market], event)

    def _trade(self, event: ev.Traded) -> None:
        book = self._book(event.address)
        buy, sell = event.buy_order_id, event.sell_order_id
        maker_id, taker_id = (sell, buy) if event.taker_side == "buy" else (buy, sell)
        taker = self._order(book, taker_id, event)
        reason = undecided(book)
        # of a maker that nobody placed, in a whole history, the audit tells; the trade stands
        forged = maker_id not in book.orders and reason is None
        maker = None if forged else self._order(book, maker_id, event)
        foreseen = self._audit.met(
            book, taker_id, Fill(maker_id, event.price, event.quantity), event
        )
        trade = Trade(
            market=event.address,
            block_number=self._block.number,
            log_index=event.log_index,
            tx=event.tx,
            timestamp=self._block.timestamp,
            price=event.price,
            quantity=event.quantity,
            quote_amount=quote_amount(event.quantity, event.price, book.base_unit),
            taker_side=event.taker_side,
            maker_order_id=maker_id,
            taker_order_id=taker_id,
            maker=maker.account if maker else ZERO_ADDRESS,
            taker=event.taker,
            maker_fee=self._fees.pop((event.address, False), None),
            taker_fee=self._fees.pop((event.address, True), None),
            verified=None if reason else foreseen,
            undecided=reason,
        )
        if maker is not None:
            self._fill(book, maker, trade, event)
        self._fill(book, taker, trade, event)
        add_trade(self._mirror.candles, trade)
        self._trades.append(trade)
        self._learn_fees(trade)
        self._audit.go_on()

    def _fill(self, book: Book, order: Order, trade: Trade, event: ev.Traded) -> None:
        order.quote_filled = Amount(order.quote_filled + trade.quote_amount)
        if order.type == "limit":
            overfilled = order.filled > order.quantity  # it has left already
            book.fill(order, trade.quantity)
            full = order.filled >= order.quantity and not overfilled
            if full and not book.unlink(order):
                found = Fill(trade.maker_order_id, trade.price, trade.quantity)
                self._audit.contradicted(order, found, event)
            settle_status(order)
        else:
            order.filled = Quantity(order.filled + trade.quantity)
            order.status = "partially_filled"
        self._tell("traded", order, event, trade)

    def _assert_status(self, event: ev.StatusAsserted) -> None:
        """Only two assertions tell something new: a market order's end, and an expiry."""
        book = self._book(event.address)
        order = self._order(book, event.order_id, event)
        if order is self._audit.running(book):
            close = Close(order.order_id, event.filled, event.status)
            self._audit.met(book, order.order_id, close, event)
            if order.type == "market":
                self._close(order, event)
            self._audit.go_on()
        elif order.type == "market":
            self._close(order, event)
        elif event.status == "expired":
            self._expire(book, order, event)

    def _close(self, order: Order, event: ev.StatusAsserted) -> None:
        order.status = event.status
        self._tell("closed", order, event)

    def _expire(self, book: Book, order: Order, event: ev.StatusAsserted) -> None:
        foreseen = self._audit.expired(book, order, event)
        if not book.unlink(order):
            self._audit.contradicted(order, Expire(order.order_id), event)
        if order.status not in ("cancelled", "filled"):
            order.status = "expired"
        self._tell("expired", order, event)
        if foreseen:
            self._audit.go_on()

    def _cancel(self, event: ev.OrderCancelled) -> None:
        book = self._book(event.address)
        order = self._order(book, event.order_id, event)
        if order.type == "market":
            raise Impossible(f"market order {order.order_id} cancelled", "a limit order")
        foreseen = self._audit.cancelled(book, order, event)
        if not book.unlink(order):
            self._audit.contradicted(order, Cancel(order.order_id), event)
        book.clean(order.side, order.price, order)
        order.status = "cancelled"
        self._tell("cancelled", order, event)
        if foreseen:
            self._audit.go_on()

    def _end_tx(self) -> None:
        """Between two txs: gtx never says how a market order ended, so its tx's end does."""
        self._audit.end()
        self._fees.clear()
        for order in self._unclosed:
            status: OrderStatus = "partially_filled" if order.filled else "expired"
            order.status = "filled" if order.filled >= order.quantity else status
            self._tell("closed", order, None)
        self._unclosed.clear()

    def _learn_fees(self, trade: Trade) -> None:
        """The balance manager's rates are one for all its markets."""
        markets = self._mirror.markets
        market = markets.rows[trade.market]
        spent: int = trade.quote_amount
        received: int = trade.quantity
        if trade.taker_side == "sell":
            spent, received = received, spent
        maker = learn(market.maker_fee_per_mille, spent, trade.maker_fee)
        taker = learn(market.taker_fee_per_mille, received, trade.taker_fee)
        if maker != market.maker_fee_per_mille or taker != market.taker_fee_per_mille:
            for address in markets.rows:
                other = markets.touch(address)
                other.maker_fee_per_mille, other.taker_fee_per_mille = maker, taker

    def _update_rules(self, event: ev.RulesUpdated) -> None:
        if event.address not in self._mirror.markets:
            return  # the pool manager repeats what the book has said
        market = self._mirror.markets.touch(event.address)
        market.min_quantity = event.min_quantity
        market.lot_size = event.lot_size
        market.tick_size = event.tick_size
        market.min_quote_amount = event.min_quote_amount

    def _tell(
        self,
        kind: OrderChangeKind,
        order: Order,
        event: ev.Event | None,
        trade: Trade | None = None,
    ) -> None:
        is_maker = None if trade is None else trade.maker_order_id == order.order_id
        self._order_changes.append(
            OrderChange(
                market=order.market,
                order_id=order.order_id,
                account=order.account,
                block_number=self._block.number,
                log_index=order.updated_log_index if event is None else event.log_index,
                tx=self._tx,
                kind=kind,
                status=order.status,
                filled=order.filled,
                quote_filled=order.quote_filled,
                trade_price=trade.price if trade else None,
                trade_quantity=trade.quantity if trade else None,
                trade_quote_amount=trade.quote_amount if trade else None,
                trade_fee=(trade.maker_fee if is_maker else trade.taker_fee) if trade else None,
                is_maker=is_maker,
            )
        )
