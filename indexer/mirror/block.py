"""One block being folded: every event finds the record it changes.

Rules that hold for every protocol (each is a fault seen in other indexers):

- Fills accumulate from trades only; a status assertion repeats what a trade has already said.
- Depth follows from orders: a level is the sum of its queue.
- A trade's fees are in the two transfers its own book made just before it.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from indexer.domain import events as ev
from indexer.domain.block import Block
from indexer.domain.change import Applied, Delta, Deltas, OrderChange, OrderChangeKind, Touched
from indexer.domain.effect import Cancel, Close, Expire, Fill
from indexer.domain.order import Level, Order, OrderStatus, Trade
from indexer.domain.units import ZERO_ADDRESS, Address, Amount, Hash, quote_amount
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

    def __init__(self, mirror: "Mirror", block: Block, events: Sequence[ev.AnyEvent]) -> None:
        self._mirror = mirror
        self._events = events
        self._block = block
        self._number = block.number
        self._trades: list[Trade] = []
        self._order_changes: list[OrderChange] = []
        self._touched: dict[Address, Book] = {}
        self._tx = Hash("")
        self._maker_fees: dict[Address, Amount] = {}
        self._taker_fees: dict[Address, Amount] = {}
        """What books have charged, until they tell of the trade."""
        self._unclosed: list[Order] = []
        self._due: list[tuple[Book, int]] = []
        self._audit = Audit(RULES[mirror.deployment.protocol], mirror.ledger, block, events)
        mirror.ledger.block_number = block.number
        self._moves = mirror.ledger.moves

    def run(self) -> Applied:
        moves, tx = self._moves, self._tx
        try:
            for event in self._events:
                if event.tx != tx:
                    self._end_tx()
                    tx = self._tx = event.tx
                kind = type(event)
                effect = EFFECTS.get(kind)
                if effect is None:
                    moves[kind](event)
                else:
                    effect(self, event)
        except Impossible as cause:
            raise FoldError(self._block, event, cause) from cause
        self._end_tx()
        touched, deltas = self._end()
        return Applied(
            self._block,
            deltas,
            tuple(self._trades),
            tuple(self._order_changes),
            tuple(self._audit.divergences),
            whole_books(self._number, self._due) if self._due else (),
            broken_queues(self._number, self._touched, touched.levels),
            touched,
        )

    def _end(self) -> tuple[Touched, Deltas]:
        """End the block in all records."""
        mirror = self._mirror
        orders: list[Order] = []
        levels: list[Level] = []
        order_deltas: list[Delta[Order]] = []
        level_deltas: list[Delta[Level]] = []
        for book in self._touched.values():
            its_orders, deltas_of_orders = book.orders.end()
            its_levels, deltas_of_levels = book.levels.end()
            orders += its_orders
            levels += its_levels
            order_deltas += deltas_of_orders
            level_deltas += deltas_of_levels
        balances, balance_deltas = mirror.ledger.balances.end()
        deltas = Deltas(
            tuple(mirror.tokens.end()[1]),
            tuple(mirror.markets.end()[1]),
            tuple(order_deltas),
            tuple(level_deltas),
            tuple(balance_deltas),
            tuple(mirror.candles.end()[1]),
        )
        return Touched(orders, levels, balances), deltas

    def _book(self, market: Address) -> Book:
        book = self._touched.get(market)
        if book is None:
            book = self._mirror.books.get(market)
            if book is None:
                raise Impossible(f"an order event of {market}", "a market that was created")
            self._touched[market] = book
        return book

    def _order(self, book: Book, order_id: int, event: ev.Event) -> Order:
        order = book.orders.find(order_id)
        if order is None:
            raise Impossible(f"order {order_id} of {book.market}", "an order that was placed")
        order.updated_block = self._number
        order.updated_log_index = event.log_index
        return order

    # -- the life of an order --------------------------------------------------------------------

    def _place(self, event: ev.OrderPlaced) -> None:
        book = self._book(event.address)
        order_id, number, log_index = event.order_id, self._number, event.log_index
        if order_id in book.orders.rows:
            raise Impossible(f"order {order_id} placed again", "each order placed once")
        if order_id > book.newest:
            book.newest = order_id
        if is_due(order_id):
            self._due.append((book, order_id))
        protocol = self._mirror.deployment.protocol
        is_market = event.type == "market"
        order = Order(
            book.market,
            order_id,
            event.account,
            event.side,
            event.type,
            event.time_in_force,
            event.price,
            event.quantity,
            is_market and event.side == "buy" and protocol == "scalex",
            event.expiry,
            number,
            log_index,
            self._block.timestamp,
            event.tx,
            updated_block=number,
            updated_log_index=log_index,
        )
        if is_market:
            book.orders.add(order_id, order)
            if protocol == "gtx":
                self._unclosed.append(order)
        else:
            book.append(order)
            settle_status(order)
        self._tell("placed", order, log_index)
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
        price, quantity = event.price, event.quantity
        foreseen = self._audit.met(book, taker_id, Fill(maker_id, price, quantity), event)
        trade = Trade(
            book.market,
            self._number,
            event.log_index,
            event.tx,
            self._block.timestamp,
            price,
            quantity,
            quote_amount(quantity, price, book.base_unit),
            event.taker_side,
            maker_id,
            taker_id,
            maker.account if maker else ZERO_ADDRESS,
            event.taker,
            self._maker_fees.pop(event.address, None),
            self._taker_fees.pop(event.address, None),
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
        order.quote_filled += trade.quote_amount
        if order.type == "limit":
            overfilled = order.filled > order.quantity  # it has left already
            book.fill(order, trade.quantity)
            full = order.filled >= order.quantity and not overfilled
            if full and not book.unlink(order):
                found = Fill(trade.maker_order_id, trade.price, trade.quantity)
                self._audit.contradicted(order, found, event)
            settle_status(order)
        else:
            order.filled += trade.quantity
            order.status = "partially_filled"
        is_maker = trade.maker_order_id == order.order_id
        fee = trade.maker_fee if is_maker else trade.taker_fee
        of_trade = trade.price, trade.quantity, trade.quote_amount, fee, is_maker
        self._tell("traded", order, trade.log_index, *of_trade)

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
        self._tell("closed", order, event.log_index)

    def _expire(self, book: Book, order: Order, event: ev.StatusAsserted) -> None:
        foreseen = self._audit.expired(book, order, event)
        if not book.unlink(order):
            self._audit.contradicted(order, Expire(order.order_id), event)
        if order.status not in ("cancelled", "filled"):
            order.status = "expired"
        self._tell("expired", order, event.log_index)
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
        self._tell("cancelled", order, event.log_index)
        if foreseen:
            self._audit.go_on()

    def _end_tx(self) -> None:
        """Between two txs: gtx never says how a market order ended, so its tx's end does."""
        self._audit.end()
        if self._maker_fees or self._taker_fees:
            self._maker_fees.clear()
            self._taker_fees.clear()
        if self._unclosed:
            for order in self._unclosed:
                status: OrderStatus = "partially_filled" if order.filled else "expired"
                order.status = "filled" if order.filled >= order.quantity else status
                self._tell("closed", order, order.updated_log_index)
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

    def _transfer(self, event: ev.Transferred) -> None:
        self._maker_fees[event.operator] = event.fee
        self._moves[ev.Transferred](event)

    def _transfer_locked(self, event: ev.LockedTransferred) -> None:
        self._taker_fees[event.operator] = event.fee
        self._moves[ev.LockedTransferred](event)

    def _create_market(self, event: ev.MarketCreated) -> None:
        self._mirror.create_market(self._block, event)

    def _pass(self, event: ev.Noted | ev.Unknown) -> None:
        """Stored and counted, without effect."""

    def _tell(self, kind: OrderChangeKind, order: Order, log_index: int, *of_trade: Any) -> None:
        self._order_changes.append(
            OrderChange(
                order.market,
                order.order_id,
                order.account,
                self._number,
                len(self._order_changes),
                log_index,
                self._tx,
                kind,
                order.status,
                order.filled,
                order.quote_filled,
                *of_trade,
            )
        )


EFFECTS: dict[type[ev.AnyEvent], Callable[[BlockFold, Any], None]] = {
    ev.MarketCreated: BlockFold._create_market,
    ev.RulesUpdated: BlockFold._update_rules,
    ev.OrderPlaced: BlockFold._place,
    ev.Traded: BlockFold._trade,
    ev.StatusAsserted: BlockFold._assert_status,
    ev.OrderCancelled: BlockFold._cancel,
    ev.Transferred: BlockFold._transfer,
    ev.LockedTransferred: BlockFold._transfer_locked,
    ev.Noted: BlockFold._pass,
    ev.Unknown: BlockFold._pass,
}
"""What an event does, by its type; the others move funds only, and are the ledger's `moves`."""
