"""The mirror: the contracts' state, folded from their events.

Pure: blocks and events in, `Change` out. The same code follows the head, backfills, replays a
recording and runs under property tests.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from indexer.domain import events as ev
from indexer.domain.block import Block, BlockRef, Promotion
from indexer.domain.change import Applied, Deltas, Rewound, Settled, Touched, Unsaved
from indexer.domain.deployment import Deployment
from indexer.domain.market import Market, Token
from indexer.domain.order import Candle, Level
from indexer.domain.units import Address
from indexer.mirror.block import BlockFold
from indexer.mirror.book import Book
from indexer.mirror.candles import CandleKey
from indexer.mirror.errors import Impossible
from indexer.mirror.ledger import Ledger
from indexer.mirror.records import Records
from indexer.mirror.rules import RULES


class Mirror:
    """State at our head, and the changes of every block a rollback could still reach."""

    def __init__(self, deployment: Deployment, head: Block | None = None) -> None:
        self.deployment = deployment
        self._head = head
        self._final = False
        self.tokens: Records[Address, Token] = Records()
        self.markets: Records[Address, Market] = Records()
        self.books: dict[Address, Book] = {}
        self.ledger = Ledger(
            deployment.protocol,
            deployment.contracts.balance_manager,
            deployment.fee_receiver,
        )
        self.candles: Records[CandleKey, Candle] = Records()
        self.journal: list[Applied] = []
        """Changes of the blocks above *finalized*, oldest first."""
        self.since: list[Applied] | None = None
        """Those made since somebody began to read a settled state, of retracted blocks too."""
        self.safe = -1
        """Height up to which blocks have been promoted to safe, so that each is once."""

    @property
    def head(self) -> Block:
        """The block whose state this is."""
        assert self._head is not None, "nothing folded yet"
        return self._head

    def apply(
        self,
        block: Block,
        events: Sequence[ev.AnyEvent],
        tokens: Sequence[Token] = (),
        *,
        final: bool = False,
    ) -> Applied:
        """Fold one block. `tokens` describes what its new markets trade.

        A `final` block is not remembered for a rollback, but for `take_unsaved`. Raises FoldError;
        the mirror is then unusable, and the next start loads the last committed state.
        """
        if final != self._final:
            self._final = final
            for _, records in self._records():
                records.final = final
        for token in tokens:
            if token.address not in self.tokens:
                self.tokens.add(token.address, token)
        applied = BlockFold(self, block, events).run()
        self._head = block
        if final:
            self.since = None  # it has no deltas to tell
        else:
            kept = replace(applied, books=(), queues=(), touched=Touched())  # what a rollback needs
            self.journal.append(kept)
            if self.since is not None:
                self.since.append(kept)
        return applied

    def rewind(self, ancestor: Block) -> Rewound:
        """Take back every block above `ancestor`."""
        retracted: list[Applied] = []
        while self.journal and self.journal[-1].block.number > ancestor.number:
            applied = self.journal.pop()
            self.put(applied.deltas.inverse())
            retracted.append(applied)
        self._head = ancestor
        self.safe = min(self.safe, ancestor.number)
        return Rewound(ancestor.ref, tuple(retracted))

    def settle(self, block: BlockRef, finality: Promotion = "finalized") -> Settled:
        """Promote `block` and everything before it; what is final, we forget how to take back."""
        kept = next(
            (i for i, a in enumerate(self.journal) if a.block.number > block.number),
            len(self.journal),
        )
        promoted = tuple(self.journal[:kept])
        if finality == "finalized":
            del self.journal[:kept]
            self.safe = max(self.safe, block.number)
        else:
            promoted = tuple(one for one in promoted if one.block.number > self.safe)
            self.safe = max(self.safe, block.number)
        return Settled(block, promoted, finality)

    def take_unsaved(self) -> Unsaved:
        """What final blocks have done to the records since the last call."""
        found: dict[str, list[Any]] = {kind: [] for kind in Deltas.__struct_fields__}
        gone: list[Level] = []
        for kind, records in self._records():
            kept, lost = records.take_unsaved()
            found[kind] += kept
            gone += lost
            assert kind == "levels" or not lost, f"a final block took away {lost[0]}"
        return Unsaved(found, gone)

    def _records(self) -> Iterator[tuple[str, Records[Any, Any]]]:
        """All there are, by kind."""
        yield "tokens", self.tokens
        yield "markets", self.markets
        for book in self.books.values():
            yield "orders", book.orders
            yield "levels", book.levels
        yield "balances", self.ledger.balances
        yield "candles", self.candles

    def put(self, deltas: Deltas) -> None:
        """Set every record to its `after` image: how state is loaded, and how it is rewound."""
        self.tokens.put((d.record.address, d.after) for d in deltas.tokens)
        for market_delta in deltas.markets:
            market = market_delta.record
            self.markets.put([(market.address, market_delta.after)])
            if market_delta.after and market.address not in self.books:
                self.books[market.address] = self._open(market)
        for order in deltas.orders:
            book = self.books[order.record.market]
            book.put_order(order.record.order_id, order.after)
        for level in deltas.levels:
            one = level.record
            self.books[one.market].put_levels([((one.side, one.price), level.after)])
        for market_delta in deltas.markets:  # last: its orders went before it
            if market_delta.after is None:
                del self.books[market_delta.record.address]
        self.ledger.balances.put(
            ((d.record.account, d.record.token), d.after) for d in deltas.balances
        )
        self.candles.put(((d.record.market, d.record.open_time), d.after) for d in deltas.candles)

    def create_market(self, block: Block, event: ev.MarketCreated) -> None:
        """Open the book of a new market. A symbol that is taken gets a number behind it."""
        for token in (event.base, event.quote):
            if token not in self.tokens:
                raise Impossible(f"no description of token {token}", "tokens described first")
        if event.market in self.books:
            raise Impossible(f"market {event.market} again", "each market created once")
        base, quote = self.tokens.rows[event.base], self.tokens.rows[event.quote]
        symbol = f"{base.symbol}-{quote.symbol}"
        taken = {market.symbol for market in self.markets.rows.values()}
        name, n = symbol, 1
        while name in taken:
            n += 1
            name = f"{symbol}-{n}"
        other = next(iter(self.markets.rows.values()), None)
        market = Market(
            event.market,
            name,
            event.pool_id,
            event.base,
            event.quote,
            block.number,
            event.log_index,
            maker_fee_per_mille=other.maker_fee_per_mille if other else None,
            taker_fee_per_mille=other.taker_fee_per_mille if other else None,
        )
        self.markets.add(event.market, market)
        self.books[event.market] = self._open(market)

    def _open(self, market: Market) -> Book:
        stay = RULES[self.deployment.protocol].LEVELS_STAY
        unit = self.tokens.rows[market.base].unit
        return Book(market, unit, levels_stay=stay, final=self._final)
