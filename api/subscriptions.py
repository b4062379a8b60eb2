"""GraphQL's subscriptions: what the streams tell, from now on or from where a client stands."""
# mypy: disable-error-code="untyped-decorator"

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Annotated, Any

import strawberry

from api import arguments, events, limits, market_reads, reads, tickers, types
from api.events import (
    BalanceEvent,
    CandleEvent,
    ChainEvent,
    DepthEvent,
    ExecutionEvent,
    OrderEvent,
    TickerEvent,
    TradeEvent,
    tell,
)
from api.replay import State, heard
from api.scalars import Long
from indexer.domain.listing import Listing
from indexer.domain.order import Level
from indexer.domain.units import Address, Hash
from indexer.store.snapshot import Snapshot
from indexer.topics import SYSTEM, Topic
from indexer.wire import BlockInfo, Message

Info = strawberry.Info[Any, None]
Named = Annotated[str, strawberry.argument(description="A market's address or symbol.")]


@strawberry.input(description="Everything up to here was heard: of an event, or of `_meta`.")
class StreamPosition:
    epoch: str
    seq: Long


Payload = Callable[[], Awaitable[dict[str, Any]]]

After = Annotated[
    StreamPosition | None,
    strawberry.argument(description="Where to go on; without, what comes from now on."),
]


def _states(message: Message) -> bool:
    """Whether a message has a payload: others are words to all listeners of a stream."""
    return message.op in ("apply", "retract")


@strawberry.type
class Subscription:
    @strawberry.subscription(description="Trades of a market, and those that are no more.")
    async def trades(
        self, info: Info, market: Named, after: After = None
    ) -> AsyncIterator[TradeEvent]:
        listing = await info.context.loaders.listing("market", market)
        told = types.Market.of(listing)
        async with aclosing(_heard(info, Topic("trades", listing.address), after)) as messages:
            async for one in messages:
                trade = events.trade(one, told, listing) if _states(one) else None
                yield tell(TradeEvent, one, trade=trade)

    @strawberry.subscription(
        description="A market's book: whole at first, unless resumed, then levels that changed."
    )
    async def depth(
        self, info: Info, market: Named, after: After = None
    ) -> AsyncIterator[DepthEvent]:
        listing = await info.context.loaders.listing("market", market)
        topic = Topic("depth", listing.address)
        snapshot = info.context.snapshot
        whole = _state(snapshot, topic, _whole_book(snapshot, listing.address))
        async with aclosing(_heard(info, topic, after, whole)) as messages:
            async for one in messages:
                bids, asks = (events.levels(one, side, listing) for side in ("bids", "asks"))
                yield tell(DepthEvent, one, bids=bids, asks=asks)

    @strawberry.subscription(description="A market's minutes, as trades come and go.")
    async def candles(
        self, info: Info, market: Named, after: After = None
    ) -> AsyncIterator[CandleEvent]:
        listing = await info.context.loaders.listing("market", market)
        async with aclosing(_heard(info, Topic("klines", listing.address), after)) as messages:
            async for one in messages:
                states = _states(one)
                candle = events.candle(one, listing) if states else None
                opened = Long(one.data["open_time"]) if states else None
                yield tell(CandleEvent, one, open_time=opened, candle=candle)

    @strawberry.subscription(
        description="A market's 24 hours: at first, unless resumed, and when its candles change."
    )
    async def tickers(
        self, info: Info, market: Named, after: After = None
    ) -> AsyncIterator[TickerEvent]:
        listing = await info.context.loaders.listing("market", market)
        snapshot, topic = info.context.snapshot, Topic("klines", listing.address)
        async with aclosing(_heard(info, topic, after, _state(snapshot, topic))) as messages:
            async for one in messages:
                found: list[tickers.Ticker] = []
                if _states(one) or one.op == "snapshot":
                    found = await tickers.read(snapshot, [listing], None)
                yield tell(TickerEvent, one, ticker=found[0] if found else None)

    @strawberry.subscription(description="What happens to an account's orders, fills among it.")
    async def execution_reports(
        self, info: Info, account: str, after: After = None
    ) -> AsyncIterator[ExecutionEvent]:
        topic = Topic("execution_reports", arguments.address("account", account))
        async with aclosing(_heard(info, topic, after)) as messages:
            async for one in messages:
                listing = await _listing(info, one) if _states(one) else None
                report = None if listing is None else events.report(one, listing)
                yield tell(ExecutionEvent, one, report=report)

    @strawberry.subscription(description="An account's orders, each time one changes.")
    async def orders(
        self, info: Info, account: str, after: After = None
    ) -> AsyncIterator[OrderEvent]:
        topic = Topic("orders", arguments.address("account", account))
        async with aclosing(_heard(info, topic, after)) as messages:
            async for one in messages:
                listing = await _listing(info, one) if _states(one) else None
                yield tell(
                    OrderEvent,
                    one,
                    market=None if listing is None else types.Market.of(listing),
                    order_id=None if listing is None else Long(one.data["order_id"]),
                    order=None if listing is None else events.order(one.data["order"], listing),
                )

    @strawberry.subscription(description="An account's balances inside the exchange.")
    async def balances(
        self, info: Info, account: str, after: After = None
    ) -> AsyncIterator[BalanceEvent]:
        topic = Topic("balances", arguments.address("account", account))
        async with aclosing(_heard(info, topic, after)) as messages:
            async for one in messages:
                token = None
                if _states(one):
                    token = await info.context.loaders.tokens.load(one.data["token"])
                balance = None if token is None else events.balance(one, token)
                yield tell(BalanceEvent, one, balance=balance)

    @strawberry.subscription(description="What becomes safe or final, and reorgs.")
    async def chain(self, info: Info, after: After = None) -> AsyncIterator[ChainEvent]:
        async with aclosing(_heard(info, SYSTEM, after)) as messages:
            async for one in messages:
                yield _chain_event(one)


def _heard(
    info: Info, topic: Topic, after: StreamPosition | None, state: State | None = None
) -> Any:
    return heard(info.context, topic, after, state)


async def _listing(info: Info, message: Message) -> Listing | None:
    listing: Listing | None = await info.context.loaders.listings.load(message.market)
    return listing


def _chain_event(message: Message) -> ChainEvent:
    data = message.data
    found = data.get("ancestor")
    ancestor = None
    if found is not None:
        ancestor = types.Block(number=Long(found["number"]), hash=found["hash"], timestamp=None)
    subject = data.get("event") if _states(message) else None
    return tell(
        ChainEvent,
        message,
        ancestor=ancestor,
        depth=data.get("depth"),
        subject=subject,
        market=message.market,
    )


def _state(snapshot: Snapshot, topic: Topic, payload: Payload | None = None) -> State:
    """What a topic stands at, as a message of its own at the writer's position."""

    async def state(at: reads.Position) -> Message:
        return Message(
            stream=topic.stream,
            epoch=at.epoch,
            seq=at.seq,
            prev_seq=await reads.channel_seq(snapshot, topic.channel),
            op="snapshot",
            market=Address(topic.subject),
            block=BlockInfo(at.number or 0, Hash(at.hash or ""), at.timestamp or 0),
            tx=None,
            log_index=None,
            finality="latest",
            data={} if payload is None else await payload(),
        )

    return state


def _whole_book(snapshot: Snapshot, market: Address) -> Payload:
    def told(levels: list[Level]) -> list[list[Any]]:
        return [[str(one.price), str(one.quantity), one.order_count] for one in levels]

    async def payload() -> dict[str, Any]:
        now = await market_reads.book(snapshot, market, limits.MAX_LEVELS)
        return {"bids": told(now.bids), "asks": told(now.asks)}

    return payload
