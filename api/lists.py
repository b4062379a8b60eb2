"""Lists of orders, trades and balances for GraphQL, at the head or at a past block."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from api import account_reads, arguments, filtered, past, reads, types
from api.filtered import Asked
from api.filters import OrderFilter, TradeFilter
from api.loaders import Loaders
from api.scalars import OrderStatus, Side
from indexer.domain.listing import Listing
from indexer.domain.units import Address
from indexer.store.snapshot import Snapshot

T = TypeVar("T")


class Reading(Protocol):
    """What lists want of a request's context."""

    snapshot: Snapshot
    loaders: Loaders


class Listed(dict[Address, tuple[Listing, types.Market]]):
    """Markets of a list's rows: one GraphQL object each, however many rows share it."""

    @classmethod
    async def of(cls, context: Reading, markets: set[Address]) -> "Listed":
        listings = await context.loaders.listings.load_many(markets)
        return cls(
            (listing.address, (listing, types.Market.of(listing)))
            for listing in listings
            if listing is not None
        )

    def tell(self, kind: Callable[..., T], rows: list[Any]) -> list[T]:
        """Rows as GraphQL has them, each with its market."""
        return [
            kind(row=row, listing=listing, market=market)
            for row, (listing, market) in zip(rows, [self[one.market] for one in rows], strict=True)
        ]


async def market_address(context: Reading, name: str | None) -> Address | None:
    """The market that a caller names, None if it names none."""
    return None if name is None else (await context.loaders.listing("market", name)).address


def account_address(field: str, text: str | None) -> Address | None:
    return None if text is None else arguments.address(field, text)


async def asked(
    context: Reading,
    *,
    market: str | None = None,
    account: str | None = None,
    status: list[OrderStatus] | None = None,
    side: Side | None = None,
    at: int | None = None,
    where: TradeFilter | OrderFilter | None = None,
) -> Asked:
    """A caller's words, read: what of a market or an account, after block `at` (None: the head)."""
    return Asked(
        market=await market_address(context, market),
        account=account_address("account", account),
        statuses=None if status is None else [one.value for one in status],
        side=None if side is None else side.value,
        at=at,
        where=where,
    )


async def orders(
    context: Reading, asked: Asked, *, after: str | None, limit: int
) -> list[types.Order]:
    """Orders, newest first."""
    cursor = arguments.cursor("after", after)
    if asked.at is None and asked.where is None:
        found = await reads.orders(
            context.snapshot,
            market=asked.market,
            account=asked.account,
            statuses=asked.statuses,
            side=asked.side,
            after=cursor,
            limit=limit,
        )
    else:
        found = await filtered.orders(context.snapshot, asked, cursor, limit)
    listed = await Listed.of(context, {order.market for order in found})
    return listed.tell(types.Order, found)


async def open_orders(
    context: Reading, *, account: Address, limit: int, at: int | None
) -> list[types.Order]:
    """Limit orders that held funds after block `at` (None: that do now), newest first."""
    if at is None:
        timed = await account_reads.account_orders(
            context.snapshot, account=account, working=True, limit=limit
        )
        found = [order for order, _ in reversed(timed)]
    else:
        working = Asked(account=account, at=at, statuses=list(account_reads.WORKING), type="limit")
        found = await filtered.orders(context.snapshot, working, None, limit)
    listed = await Listed.of(context, {order.market for order in found})
    return listed.tell(types.Order, found)


async def trades(
    context: Reading, asked: Asked, *, after: str | None, limit: int
) -> list[types.Trade]:
    """Trades, newest first."""
    cursor = arguments.cursor("after", after)
    if asked.where is None:
        found = await reads.trades(
            context.snapshot,
            market=asked.market,
            account=asked.account,
            after=cursor,
            limit=limit,
            at=asked.at,
        )
    else:
        found = await filtered.trades(context.snapshot, asked, cursor, limit)
    listed = await Listed.of(context, {trade.market for trade in found})
    return listed.tell(types.Trade, found)


async def balances(
    context: Reading, *, account: str, token: str | None = None, limit: int, at: int | None = None
) -> list[types.Balance]:
    """An account's balances after block `at`, by token."""
    asked: dict[str, Any] = {
        "account": arguments.address("account", account),
        "token": account_address("token", token),
        "limit": limit,
    }
    if at is None:
        found = await reads.balances(context.snapshot, **asked)
    else:
        found = await past.balances_at(context.snapshot, at=at, **asked)
    tokens = await context.loaders.tokens.load_many([one.token for one in found])
    return [
        types.Balance.of(balance, known)
        for balance, known in zip(found, tokens, strict=True)
        if known is not None  # deposited, but described by no market yet: no decimals to tell
    ]
