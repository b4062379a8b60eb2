"""The roots of the GraphQL schema."""
# mypy: disable-error-code="untyped-decorator"
# strawberry.field(description=…) is typed Any; the resolvers themselves are checked.

import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Annotated, Any

import asyncpg
import strawberry
from graphql import GraphQLError
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from api import arguments, listed_reads, lists, market_reads, reads, types, view
from api.candles import read_candles
from api.chain import ChainQuery
from api.chain_reads import Header
from api.connections import ConnectionQuery
from api.cost import Admission
from api.documents import Documents
from api.errors import BadInput, Internal, addressed
from api.feed import Feed
from api.filters import OrderFilter, TradeFilter
from api.limits import DEFAULT_ROWS, MAX_ROWS
from api.loaders import Loaders
from api.projection import ProjectingContext
from api.reads import Position
from api.scalars import LONG, Long, OrderStatus, Side
from api.subscriptions import Subscription
from api.view import AfterTx, Final, Pin
from api.witness import WitnessQuery
from indexer.domain import order as domain
from indexer.domain.change import StandingLevel
from indexer.domain.interval import INTERVALS
from indexer.domain.listing import Listing
from indexer.domain.units import Hash
from indexer.store import books
from indexer.store.snapshot import Pool, Snapshot

_log = logging.getLogger("tidebook.api")


class Context:
    """What one request has: its snapshot and the loaders that read from it.

    A websocket's is `shared`: each of its operations gets one of its own from it.
    """

    def __init__(
        self,
        pool: Pool,
        feed: Feed | None = None,
        hang_up: Callable[[], None] | None = None,
    ) -> None:
        self.pool = pool
        self.feed = feed
        self.shared = hang_up is not None
        self._hang_up = hang_up
        self.says_block = False
        """Whether the answer's headers will say which block it is of."""
        self.lasts = True
        """Whether the same will be answered for as long as the writer does not move."""
        self.position: Position | None = None
        """Where the writer stood in the snapshot, if so and once the operation is done."""
        self.snapshot = Snapshot(pool)
        self.loaders = Loaders(self.snapshot)

    def own(self) -> "Context":
        """One for a single operation."""
        found = Context(self.pool, self.feed, self._hang_up)
        found.shared = False
        return found

    def hang_up(self) -> None:
        """Close the websocket of a client that does not keep up."""
        if self._hang_up is not None:
            self._hang_up()

    async def note_position(self) -> None:
        """Remember which block was read, for an answer that says it."""
        if self.says_block and self.snapshot.statements:
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                self.position = await reads.position(self.snapshot)

    async def renew(self) -> None:
        """Give the snapshot back; what is read next is newer."""
        await self.snapshot.close()
        self.loaders = Loaders(self.snapshot)


Info = strawberry.Info[Context, None]


def _argument(description: str, name: str | None = None) -> Any:
    return strawberry.argument(description=description, name=name)


Limit = Annotated[int, _argument(f"Rows: 1 to {MAX_ROWS}.")]
After = Annotated[str | None, _argument("A row's `cursor`: continue behind it.")]
Named = Annotated[str, _argument("A market's address or symbol, in any case.")]
OptionalNamed = Annotated[str | None, _argument("A market's address or symbol, in any case.")]
Since = Annotated[Long | None, _argument("Unix seconds, inclusive: the first from here.", "from")]
Until = Annotated[Long | None, _argument("Unix seconds, exclusive.", "to")]


@strawberry.type
class Query(WitnessQuery, ChainQuery, ConnectionQuery):
    @strawberry.field(description="All markets, oldest first.")
    async def markets(
        self,
        info: Info,
        limit: Limit = DEFAULT_ROWS,
        block: Pin = None,
        finality: Final = None,
        after_tx: AfterTx = None,
    ) -> list[types.Market]:
        limit, snapshot = arguments.rows("limit", limit), info.context.snapshot
        at = await view.resolve(snapshot, block, finality, after_tx)
        found = await reads.listings(snapshot, limit)
        return [types.Market.of(one) for one in found if _was_there(one, at)]

    @strawberry.field(description="One market, by address or by symbol. Null if there is none.")
    async def market(
        self,
        info: Info,
        address: str | None = None,
        symbol: str | None = None,
        block: Pin = None,
        finality: Final = None,
        after_tx: AfterTx = None,
    ) -> types.Market | None:
        loaders = info.context.loaders
        if address is not None and symbol is None:
            name = arguments.address("address", address)
            listing = await loaders.find_listing("address", name)
        elif symbol is not None and address is None:
            listing = await loaders.find_listing("symbol", symbol)
        else:
            found = "neither" if address is None else "both"
            raise BadInput("address", "either address or symbol", found)
        at = await view.resolve(info.context.snapshot, block, finality, after_tx)
        return types.Market.of(listing) if listing and _was_there(listing, at) else None

    @strawberry.field(description="Tokens of the markets, by address.")
    async def tokens(
        self,
        info: Info,
        limit: Limit = DEFAULT_ROWS,
        after: Annotated[str | None, _argument("A token's address: those behind it.")] = None,
        block: Pin = None,
        finality: Final = None,
        after_tx: AfterTx = None,
    ) -> list[types.Token]:
        at = await view.resolve(info.context.snapshot, block, finality, after_tx)
        found = await listed_reads.tokens(
            info.context.snapshot,
            after=lists.account_address("after", after),
            limit=arguments.rows("limit", limit),
            at=at,
        )
        return [types.Token.of(one) for one in found]

    @strawberry.field(description="Orders, newest first; at a past block as they were then.")
    async def orders(
        self,
        info: Info,
        market: OptionalNamed = None,
        account: str | None = None,
        status: list[OrderStatus] | None = None,
        side: Side | None = None,
        where: OrderFilter | None = None,
        limit: Limit = DEFAULT_ROWS,
        after: After = None,
        block: Pin = None,
        finality: Final = None,
        after_tx: AfterTx = None,
    ) -> list[types.Order]:
        limit = arguments.rows("limit", limit)
        asked = await lists.asked(
            info.context,
            market=market,
            account=account,
            status=status,
            side=side,
            where=where,
            at=await view.resolve(info.context.snapshot, block, finality, after_tx),
        )
        return await lists.orders(info.context, asked, after=after, limit=limit)

    @strawberry.field(description="Trades, newest first; `account` made or took them.")
    async def trades(
        self,
        info: Info,
        market: OptionalNamed = None,
        account: str | None = None,
        where: TradeFilter | None = None,
        limit: Limit = DEFAULT_ROWS,
        after: After = None,
        block: Pin = None,
        finality: Final = None,
        after_tx: AfterTx = None,
    ) -> list[types.Trade]:
        limit = arguments.rows("limit", limit)
        asked = await lists.asked(
            info.context,
            market=market,
            account=account,
            where=where,
            at=await view.resolve(info.context.snapshot, block, finality, after_tx),
        )
        return await lists.trades(info.context, asked, after=after, limit=limit)

    @strawberry.field(
        description="A market's book by price; `limit` is per side. `seq` is the head's only."
    )
    async def depth(
        self,
        info: Info,
        market: Named,
        limit: Limit = DEFAULT_ROWS,
        block: Pin = None,
        finality: Final = None,
        after_tx: AfterTx = None,
    ) -> types.Depth:
        limit = arguments.rows("limit", limit)
        snapshot = info.context.snapshot
        listing = await info.context.loaders.listing("market", market)
        at = await view.resolve(snapshot, block, finality, after_tx)
        address = listing.address
        sides: Sequence[Sequence[domain.Level | StandingLevel]]
        if at is None:
            *sides, link = await market_reads.book(snapshot, address, limit)
            stands = _block(await reads.position(snapshot))
        else:
            then = await books.book_at(snapshot, address, at)
            sides = [then.depth("buy")[:limit], then.depth("sell")[:limit]]
            link = await reads.channel_seq(snapshot, f"depth:{address}")
            stands = _stored(await view.header_at(snapshot, at))
        return types.Depth(
            market=types.Market.of(listing),
            block=stands,
            seq=Long(link),
            bids=[types.Level.of(level, listing) for level in sides[0]],
            asks=[types.Level.of(level, listing) for level in sides[1]],
        )

    @strawberry.field(description="An account's balances inside the exchange, by token.")
    async def balances(
        self,
        info: Info,
        account: str,
        token: str | None = None,
        limit: Limit = DEFAULT_ROWS,
        block: Pin = None,
        finality: Final = None,
        after_tx: AfterTx = None,
    ) -> list[types.Balance]:
        limit = arguments.rows("limit", limit)
        return await lists.balances(
            info.context,
            account=account,
            token=token,
            limit=limit,
            at=await view.resolve(info.context.snapshot, block, finality, after_tx),
        )

    @strawberry.field(description="Candles, oldest first: the newest ones, or the first `from`.")
    async def candles(
        self,
        info: Info,
        market: Named,
        interval: str,
        since: Since = None,
        until: Until = None,
        limit: Limit = DEFAULT_ROWS,
        block: Pin = None,
        finality: Final = None,
        after_tx: AfterTx = None,
    ) -> list[types.Candle]:
        if interval not in INTERVALS:
            raise BadInput("interval", "one of " + " ".join(INTERVALS), interval)
        limit = arguments.rows("limit", limit)
        since_s, until_s = arguments.time("from", since), arguments.time("to", until)
        snapshot = info.context.snapshot
        listing = await info.context.loaders.listing("market", market)
        at = await view.resolve(snapshot, block, finality, after_tx)
        found = await read_candles(
            snapshot,
            listing.market.address,
            interval,
            since=since_s,
            until=until_s,
            limit=limit,
            at=None if at is None else (at, (await view.header_at(snapshot, at)).timestamp),
        )
        return [types.Candle.of(candle, listing) for candle in found]

    @strawberry.field(name="_meta", description="Null before the writer has begun.")
    async def meta(
        self, info: Info, block: Pin = None, finality: Final = None, after_tx: AfterTx = None
    ) -> types.Meta | None:
        snapshot = info.context.snapshot
        at = await view.resolve(snapshot, block, finality, after_tx)
        position = await reads.position(snapshot)
        if position is None:
            return None
        return types.Meta(
            chain_id=Long(position.chain_id),
            block=_block(position) if at is None else _stored(await view.header_at(snapshot, at)),
            head=None if position.head is None else Long(position.head),
            safe=None if position.safe is None else Long(position.safe),
            finalized=None if position.finalized is None else Long(position.finalized),
            seq=Long(position.seq),
            epoch=position.epoch,
        )


def _was_there(listing: Listing, at: int | None) -> bool:
    """Whether a market existed after block `at`."""
    return at is None or listing.market.created_block <= at


def _block(position: Position | None) -> types.Block | None:
    if position is None or position.number is None or position.hash is None:
        return None
    timestamp = None if position.timestamp is None else Long(position.timestamp)
    return types.Block(number=Long(position.number), hash=Hash(position.hash), timestamp=timestamp)


def _stored(header: Header) -> types.Block:
    return types.Block(
        number=Long(header.number), hash=header.hash, timestamp=Long(header.timestamp)
    )


class _Request(Admission):
    """Around every operation: its snapshot ends with it, or with each event of a subscription.

    One extension with the hooks of all: strawberry looks for every hook in every one, each time.
    """

    async def on_operation(self) -> AsyncIterator[None]:
        if self.execution_context.context.shared:
            self.execution_context.context = self.execution_context.context.own()
        context = self.execution_context.context
        try:
            yield
            await context.note_position()
        finally:
            await context.snapshot.close()

    async def on_stream_result(self, result: Any) -> AsyncIterator[None]:
        if result.errors:
            result.errors = [addressed(error) for error in result.errors]
        await self.execution_context.context.renew()
        yield


class _Schema(strawberry.Schema):
    def process_errors(
        self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None
    ) -> None:
        """Log what is ours; the rest is told to the caller and needs no line of log."""
        for error in errors:
            told = addressed(error)
            if (told.extensions or {}).get("code") == Internal.code:
                _log.error("a resolver failed: %s", told.path, exc_info=error.original_error)


def build_schema(*, introspection: bool = True) -> strawberry.Schema:
    """The schema with its limits. One serves a process; requests bring their Context."""
    documents = Documents(introspection=introspection)
    return _Schema(
        Query,
        subscription=Subscription,
        execution_context_class=ProjectingContext,
        config=StrawberryConfig(scalar_map={Long: LONG}),
        extensions=[lambda: _Request(documents)],
    )


def text() -> str:
    """The schema in GraphQL's own language: what `api/schema.graphql` holds."""
    return build_schema().as_str() + "\n"


if __name__ == "__main__":
    print(text(), end="")  # noqa: T201
