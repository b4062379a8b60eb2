"""GraphQL roots about the chain, about accounts, and about markets as a whole."""
# mypy: disable-error-code="untyped-decorator"

from typing import Annotated, Any

import strawberry

from api import (
    arguments,
    chain_reads,
    fills,
    listed_reads,
    lists,
    past_books,
    reads,
    tickers,
    types,
    view,
)
from api.filters import FillFilter
from api.limits import DEFAULT_ROWS, MAX_ROWS
from api.loaders import Held
from api.scalars import Long
from api.view import AfterTx, Final, Pin
from indexer.domain.order import Order, Side
from indexer.domain.units import Address
from indexer.store import books

Info = strawberry.Info[Any, None]
Limit = Annotated[int, strawberry.argument(description=f"Rows: 1 to {MAX_ROWS}.")]


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
    at: strawberry.Private[int | None]

    @strawberry.field
    async def balances(self, info: Info, limit: Limit = DEFAULT_ROWS) -> list[types.Balance]:
        rows = arguments.rows("limit", limit)
        return await lists.balances(info.context, account=self.address, limit=rows, at=self.at)

    @strawberry.field
    async def open_orders(self, info: Info, limit: Limit = DEFAULT_ROWS) -> list[types.Order]:
        rows = arguments.rows("limit", limit)
        return await lists.open_orders(
            info.context, account=Address(self.address), limit=rows, at=self.at
        )

    @strawberry.field
    async def trades(self, info: Info, limit: Limit = DEFAULT_ROWS) -> list[types.Trade]:
        rows = arguments.rows("limit", limit)
        asked = await lists.asked(info.context, account=self.address, at=self.at)
        return await lists.trades(info.context, asked, after=None, limit=rows)


@strawberry.type(description="One of all accounts; `account` tells more of it.")
class Holder:
    cursor: str
    address: str
    at: strawberry.Private[int | None]

    @strawberry.field(description=f"The first {DEFAULT_ROWS}, by token.")
    async def balances(self, info: Info) -> list[types.Balance]:
        loaders = info.context.loaders
        held = await loaders.balances.load(Held(Address(self.address), self.at))
        tokens = await loaders.tokens.load_many([one.token for one in held])
        pairs = zip(held, tokens, strict=True)
        return [types.Balance.of(one, token) for one, token in pairs if token is not None]


@strawberry.type
class ChainQuery:
    """The roots of this module; the schema's Query inherits them."""

    @strawberry.field(description="Canonical blocks, newest first; `after` a block's cursor.")
    async def blocks(
        self,
        info: Info,
        limit: Limit = DEFAULT_ROWS,
        after: str | None = None,
        block: Pin = None,
        finality: Final = None,
        after_tx: AfterTx = None,
    ) -> list[StoredBlock]:
        snapshot, before = info.context.snapshot, arguments.number("after", after)
        at = await view.resolve(snapshot, block, finality, after_tx)
        if at is not None:
            before = min(before or at + 1, at + 1)
        rows = arguments.rows("limit", limit)
        found = await chain_reads.headers(snapshot, before=before, limit=rows)
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
        self,
        info: Info,
        limit: Limit = DEFAULT_ROWS,
        after: str | None = None,
        block: Pin = None,
        finality: Final = None,
        after_tx: AfterTx = None,
    ) -> list[Reorg]:
        snapshot = info.context.snapshot
        found = await chain_reads.rollbacks(
            snapshot,
            before=arguments.number("after", after),
            limit=arguments.rows("limit", limit),
            at=await view.resolve(snapshot, block, finality, after_tx),
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
        where: FillFilter | None = None,
        limit: Limit = DEFAULT_ROWS,
        after: str | None = None,
        block: Pin = None,
        finality: Final = None,
        after_tx: AfterTx = None,
    ) -> list[fills.Fill]:
        context = info.context
        return await fills.read(
            context,
            account=arguments.address("account", account),
            market=await lists.market_address(context, market),
            after=arguments.cursor("after", after),
            limit=arguments.rows("limit", limit),
            where=where,
            at=await view.resolve(context.snapshot, block, finality, after_tx),
        )

    @strawberry.field(description="All markets, or one, over 24 hours up to the block.")
    async def tickers(
        self,
        info: Info,
        market: str | None = None,
        limit: Limit = DEFAULT_ROWS,
        block: Pin = None,
        finality: Final = None,
        after_tx: AfterTx = None,
    ) -> list[tickers.Ticker]:
        context, snapshot = info.context, info.context.snapshot
        rows = arguments.rows("limit", limit)
        at = await view.resolve(snapshot, block, finality, after_tx)
        if market is None:
            listings = await reads.listings(snapshot, rows)
        else:
            listings = [await context.loaders.listing("market", market)]
        return await tickers.read(snapshot, listings, at)

    @strawberry.field(description="A book order by order; `limit` is per side.")
    async def book(
        self,
        info: Info,
        market: str,
        limit: Limit = DEFAULT_ROWS,
        block: Pin = None,
        finality: Final = None,
        after_tx: AfterTx = None,
    ) -> OrderBook:
        snapshot, rows = info.context.snapshot, arguments.rows("limit", limit)
        listing = await info.context.loaders.listing("market", market)
        at = await view.resolve(snapshot, block, finality, after_tx)

        then = None if at is None else await books.book_at(snapshot, listing.address, at)

        async def queued(side: Side) -> list[BookOrder]:
            if at is None or then is None:
                found = await fills.queued(snapshot, listing.address, side, rows)
            else:
                found = await past_books.queued_at(snapshot, listing.address, then, side, at, rows)
            return _placed(found, listing)

        bids, asks = await queued("buy"), await queued("sell")
        return OrderBook(market=types.Market.of(listing), bids=bids, asks=asks)

    @strawberry.field(description="One address; empty for nobody, as any may trade.")
    async def account(
        self,
        info: Info,
        address: str,
        block: Pin = None,
        finality: Final = None,
        after_tx: AfterTx = None,
    ) -> Account:
        at = await view.resolve(info.context.snapshot, block, finality, after_tx)
        return Account(address=arguments.address("address", address), at=at)

    @strawberry.field(description="Everyone who ever held something inside, by address.")
    async def accounts(
        self,
        info: Info,
        limit: Limit = DEFAULT_ROWS,
        after: str | None = None,
        block: Pin = None,
        finality: Final = None,
        after_tx: AfterTx = None,
    ) -> list[Holder]:
        at = await view.resolve(info.context.snapshot, block, finality, after_tx)
        found = await listed_reads.accounts(
            info.context.snapshot,
            after=lists.account_address("after", after),
            limit=arguments.rows("limit", limit),
            at=at,
        )
        return [Holder(cursor=one, address=one, at=at) for one in found]


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
