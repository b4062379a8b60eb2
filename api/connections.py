"""Lists as relay connections."""
# mypy: disable-error-code="untyped-decorator"

from collections.abc import Callable
from typing import Annotated, Any, Generic, TypeVar

import strawberry

from api import arguments, filtered, lists, types, view
from api.filters import OrderFilter, TradeFilter
from api.limits import DEFAULT_ROWS, MAX_ROWS
from api.scalars import Long, OrderStatus, Side
from api.view import AfterTx, Final, Pin

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
    all_rows: strawberry.Private[Callable[[], filtered.Listing]]

    @strawberry.field(description="Rows on all pages. They are counted only for who asks.")
    async def total_count(self, info: Info) -> Long:
        return Long(await filtered.count(info.context.snapshot, self.all_rows()))

    @classmethod
    def of(
        cls,
        rows: list[Any],
        first: int,
        after: str | None,
        all_rows: Callable[[], filtered.Listing],
    ) -> "Connection[T]":
        """The page of `first` rows out of one more than that."""
        edges = [Edge(cursor=str(row.origin), node=row) for row in rows[:first]]
        info = PageInfo(
            has_next_page=len(rows) > first,
            has_previous_page=after is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        )
        return cls(edges=edges, page_info=info, all_rows=all_rows)


@strawberry.type
class ConnectionQuery:
    """The roots of this module; the schema's Query inherits them."""

    @strawberry.field(description="Trades as a relay connection, newest first.")
    async def trades_connection(
        self,
        info: Info,
        first: Limit = DEFAULT_ROWS,
        after: str | None = None,
        market: str | None = None,
        account: str | None = None,
        where: TradeFilter | None = None,
        block: Pin = None,
        finality: Final = None,
        after_tx: AfterTx = None,
    ) -> Connection[types.Trade]:
        rows = arguments.rows("first", first)
        at = await view.resolve(info.context.snapshot, block, finality, after_tx)
        asked = await lists.asked(info.context, market=market, account=account, at=at, where=where)
        found = await lists.trades(info.context, asked, after=after, limit=rows + 1)
        return Connection[types.Trade].of(found, rows, after, lambda: filtered.trade_rows(asked))

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
        where: OrderFilter | None = None,
        block: Pin = None,
        finality: Final = None,
        after_tx: AfterTx = None,
    ) -> Connection[types.Order]:
        rows = arguments.rows("first", first)
        at = await view.resolve(info.context.snapshot, block, finality, after_tx)
        asked = await lists.asked(
            info.context,
            market=market,
            account=account,
            status=status,
            side=side,
            at=at,
            where=where,
        )
        found = await lists.orders(info.context, asked, after=after, limit=rows + 1)
        return Connection[types.Order].of(found, rows, after, lambda: filtered.order_rows(asked))
