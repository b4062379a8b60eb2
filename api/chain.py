"""GraphQL roots about the chain and about markets as a whole, and lists as relay connections."""
# mypy: disable-error-code="untyped-decorator"

from typing import Annotated, Any, Generic, TypeVar

import strawberry

from api import (
    arguments,
    chain_reads,
    fills,
    lists,
    market_reads,
    reads,
    types,
    view,
)
from api.errors import BadInput
from api.limits import DEFAULT_ROWS, MAX_ROWS
from api.scalars import Long, OrderStatus, Side
from indexer.domain.interval import DAY_S, open_time
from indexer.domain.order import Order

Info = strawberry.Info[Any, None]
Limit = Annotated[int, strawberry.argument(description=f"Rows: 1 to {MAX_ROWS}.")]
T = TypeVar("T")


@strawberry.type
class PageInfo:
    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@strawberry.type
class Edge(Generic[T]):
    cursor: str
    node: T


@strawberry.type(description="A page. Cursors name rows, not places: pages do not shift.")
class Connection(Generic[T]):
    edges: list[Edge[T]]
    page_info: PageInfo

    @classmethod
    def of(cls, rows: list[Any], first: int, after: str | None) -> "Connection[T]":
        """The page of `first` rows out of one more than that."""
        edges = [Edge(cursor=str(row.origin), node=row) for row in rows[:first]]
        info = PageInfo(
            has_next_page=len(rows) > first,
            has_previous_page=after is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        )
        return cls(edges=edges, page_info=info)


@strawberry.type(description="A block we have folded.")
class StoredBlock:
    cursor: str
    number: Long
    hash: str
    parent_hash: str
    timestamp: Long
    finality: view.Finality


@strawberry.type(description="Blocks that were canonical and are not.")
class Reorg:
    cursor: str
    ancestor_number: Long
    ancestor_hash: str
    head_number: Long = strawberry.field(description="The newest block that was taken back.")
    head_hash: str
    depth: int
    recorded_at: Long = strawberry.field(description="Our clock, unix seconds.")


@strawberry.type(description="One market over 24 hours up to the head block. Null: no trade.")
class Ticker:
    market: types.Market
    last: str | None
    open: str | None
    high: str | None
    low: str | None
    volume: str
    quote_volume: str
    trades: int
    bid: str | None
    ask: str | None
    open_time: Long
    close_time: Long


@strawberry.type(description="An order of a book with its place: 1 is met first at its price.")
class BookOrder:
    order_id: Long
    account: str
    price: str
    raw_price: str
    remaining: str
    raw_remaining: str
    position: int


@strawberry.type(description="A book order by order, best price first, then in order of arrival.")
class OrderBook:
    market: types.Market
    bids: list[BookOrder]
    asks: list[BookOrder]


@strawberry.type(description="What one address has and did.")
class Account:
    address: str

    @strawberry.field
    async def balances(self, info: Info, limit: Limit = DEFAULT_ROWS) -> list[types.Balance]:
        rows = arguments.rows("limit", limit)
        return await lists.balances(info.context, account=self.address, limit=rows)

    @strawberry.field
    async def open_orders(self, info: Info, limit: Limit = DEFAULT_ROWS) -> list[types.Order]:
        rows = arguments.rows("limit", limit)
        return await lists.open_orders(info.context, account=self.address, limit=rows)

    @strawberry.field
    async def trades(self, info: Info, limit: Limit = DEFAULT_ROWS) -> list[types.Trade]:
        rows = arguments.rows("limit", limit)
        return await lists.trades(info.context, account=self.address, limit=rows)


@strawberry.type
class ChainQuery:
    """The roots of this module; the schema's Query inherits them."""

    @strawberry.field(description="Canonical blocks, newest first; `after` a block's cursor.")
    async def blocks(
        self, info: Info, limit: Limit = DEFAULT_ROWS, after: str | None = None
    ) -> list[StoredBlock]:
        found = await chain_reads.headers(
            info.context.snapshot, before=_number(after), limit=arguments.rows("limit", limit)
        )
        return [
            StoredBlock(
                cursor=str(one.number),
                number=Long(one.number),
                hash=one.hash,
                parent_hash=one.parent_hash,
                timestamp=Long(one.timestamp),
                finality=view.Finality(one.finality),
            )
            for one in found
        ]

    @strawberry.field(description="Rollbacks, newest first; `after` a reorg's cursor.")
    async def reorgs(
        self, info: Info, limit: Limit = DEFAULT_ROWS, after: str | None = None
    ) -> list[Reorg]:
        found = await chain_reads.rollbacks(
            info.context.snapshot, before=_number(after), limit=arguments.rows("limit", limit)
        )
        return [
            Reorg(
                cursor=str(one.id),
                ancestor_number=Long(one.ancestor_number),
                ancestor_hash=one.ancestor_hash,
                head_number=Long(one.head_number),
                head_hash=one.head_hash,
                depth=one.depth,
                recorded_at=Long(one.recorded_at),
            )
            for one in found
        ]

    @strawberry.field(description="Trades as one account's orders saw them, newest first.")
    async def fills(
        self,
        info: Info,
        account: str,
        market: str | None = None,
        limit: Limit = DEFAULT_ROWS,
        after: str | None = None,
    ) -> list[fills.Fill]:
        return await fills.read(
            info.context,
            account=arguments.address("account", account),
            market=await lists.market_address(info.context, market),
            after=arguments.cursor("after", after),
            limit=arguments.rows("limit", limit),
        )

    @strawberry.field(description="All markets, or one, over 24 hours.")
    async def tickers(
        self, info: Info, market: str | None = None, limit: Limit = DEFAULT_ROWS
    ) -> list[Ticker]:
        context = info.context
        rows = arguments.rows("limit", limit)
        position = await reads.position(context.snapshot)
        if position is None or position.timestamp is None:
            return []
        if market is None:
            listings = await reads.listings(context.snapshot, rows)
        else:
            listings = [await context.loaders.listing("market", market)]
        since = open_time("1m", position.timestamp - DAY_S)
        found = await market_reads.tickers(
            context.snapshot, since=since, markets=[one.address for one in listings]
        )
        return [_ticker(one, found[one.address], since, position.timestamp) for one in listings]

    @strawberry.field(description="A book order by order; `limit` is per side.")
    async def book(self, info: Info, market: str, limit: Limit = DEFAULT_ROWS) -> OrderBook:
        rows = arguments.rows("limit", limit)
        listing = await info.context.loaders.listing("market", market)
        sides: dict[str, list[BookOrder]] = {}
        for side in ("buy", "sell"):
            found = await fills.queued(info.context.snapshot, listing.address, side, rows)
            sides[side] = _placed(found, listing)
        return OrderBook(market=types.Market.of(listing), bids=sides["buy"], asks=sides["sell"])

    @strawberry.field(description="One address; null for nobody, as any may trade.")
    async def account(self, info: Info, address: str) -> Account:
        return Account(address=arguments.address("address", address))

    @strawberry.field(description="Trades as a relay connection, newest first.")
    async def trades_connection(
        self,
        info: Info,
        first: Limit = DEFAULT_ROWS,
        after: str | None = None,
        market: str | None = None,
        account: str | None = None,
        block: view.BlockPin | None = None,
        finality: view.Finality | None = None,
        after_tx: str | None = None,
    ) -> Connection[types.Trade]:
        rows = arguments.rows("first", first)
        at = await view.resolve(info.context.snapshot, block, finality, after_tx)
        found = await lists.trades(
            info.context, market=market, account=account, after=after, limit=rows + 1, at=at
        )
        return Connection[types.Trade].of(found, rows, after)

    @strawberry.field(description="Orders as a relay connection, newest first.")
    async def orders_connection(
        self,
        info: Info,
        first: Limit = DEFAULT_ROWS,
        after: str | None = None,
        market: str | None = None,
        account: str | None = None,
        status: list[OrderStatus] | None = None,
        side: Side | None = None,
        block: view.BlockPin | None = None,
        finality: view.Finality | None = None,
        after_tx: str | None = None,
    ) -> Connection[types.Order]:
        rows = arguments.rows("first", first)
        at = await view.resolve(info.context.snapshot, block, finality, after_tx)
        found = await lists.orders(
            info.context,
            market=market,
            account=account,
            status=status,
            side=side,
            after=after,
            limit=rows + 1,
            at=at,
        )
        return Connection[types.Order].of(found, rows, after)


def _number(after: str | None) -> int | None:
    if after is None:
        return None
    if not (after.isascii() and after.isdigit() and len(after) <= 15):
        raise BadInput("after", "the `cursor` of a row that this list returned", after)
    return int(after)


def _ticker(listing: Any, found: market_reads.Ticker, since: int, now: int) -> Ticker:
    def price(units: int | None) -> str | None:
        return None if units is None else listing.price(units)

    return Ticker(
        market=types.Market.of(listing),
        last=price(found.last_price),
        open=price(found.open),
        high=price(found.high),
        low=price(found.low),
        volume=listing.quantity(found.volume or 0),
        quote_volume=listing.quote_amount(found.quote_volume or 0),
        trades=found.trades or 0,
        bid=price(found.bid),
        ask=price(found.ask),
        open_time=Long(since),
        close_time=Long(now),
    )


def _placed(found: list[Order], listing: Any) -> list[BookOrder]:
    rows: list[BookOrder] = []
    for one in found:
        same = rows and rows[-1].raw_price == str(one.price)
        rows.append(
            BookOrder(
                order_id=Long(one.order_id),
                account=one.account,
                price=listing.price(one.price),
                raw_price=str(one.price),
                remaining=listing.quantity(one.remaining),
                raw_remaining=str(one.remaining),
                position=rows[-1].position + 1 if same else 1,
            )
        )
    return rows
