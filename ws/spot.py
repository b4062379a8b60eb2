"""Binance's streams in one process: some as messages come, some by the clock.

A day and a candle end in chain time: the newest block's timestamp is the present.
"""

import asyncio
import logging
from typing import Any

import msgspec
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from indexer.domain.interval import next_open, open_time
from indexer.domain.listing import Directory, Listing
from indexer.domain.units import Address
from indexer.topics import Topic
from indexer.wire import Message
from ws import dialect
from ws.channels import CADENCED, EVERYWHERE, KLINE, PARTIAL, STATISTICS, Channel, channel_of
from ws.channels import payload as event_of
from ws.hub import Hub
from ws.native.book import Book
from ws.native.conflate import Pending
from ws.native.feed import Feed
from ws.statistics import read_candle, read_trades

_log = logging.getLogger("tidebook.ws")

TICK_S = 0.1
DAY_S = 86_400
AVERAGE_S = 300


class Spot:
    """What the hub's listeners hear. `run` keeps the clock."""

    def __init__(self, hub: Hub, feed: Feed, directory: Directory, engine: AsyncEngine) -> None:
        self._hub = hub
        self._feed = feed
        self._directory = directory
        self._engine = engine
        self._trades: dict[Address, list[Message]] = {}
        self._windows: dict[Channel, Pending] = {}
        self._tops: dict[Address, dict[str, str]] = {}
        self._touched: set[Address] = set()
        self._traded: set[Address] = set()
        self._told: dict[Channel, int] = {}
        """When the candle opened that each stream was told last; 0 for a day."""
        self._now_s = 0

    # -- as messages come ------------------------------------------------------------------------

    def publish(self, message: Message, listing: Listing | None) -> int:
        """Tell what a message means at once. How many bytes that took."""
        self._now_s = max(self._now_s, message.block.timestamp)
        match message.stream, message.op:
            case "balances", "apply" | "retract":
                self._balance(message)
            case "execution_reports", "apply" | "retract" if listing is not None:
                self._report(message, listing)
            case "klines", _ if listing is not None:
                self._traded.add(listing.address)
            case "trades" | "depth", _ if listing is not None:
                return self._market(message, listing)
        return 0

    def end_batch(self) -> None:
        """Blocks are whole: aggregates are, and the best prices stand."""
        for market, messages in self._trades.items():
            if listing := self._directory.at(market):
                for event in dialect.aggregates(messages, listing):
                    self._say(Channel(market, "aggTrade"), event)
        self._trades.clear()
        for market in self._touched:
            channel, listing = Channel(market, "bookTicker"), self._directory.at(market)
            if listing is None or not self._hub.wants(channel) or not self._feed.has_books:
                continue
            top = dialect.book_ticker(self._book(market), self._feed.depth_link(market), listing)
            held = {name: value for name, value in top.items() if name in "bBaA"}
            if self._tops.get(market) != held:
                self._tops[market] = held
                self._say(channel, top)
        self._touched.clear()

    def _market(self, message: Message, listing: Listing) -> int:
        market = listing.address
        if message.stream == "depth":
            self._touched.add(market)
            for kind in ("depth@100ms", "depth@1000ms"):
                channel = Channel(market, kind)
                if message.op in ("apply", "retract") and self._hub.wants(channel):
                    pending = self._windows.setdefault(channel, Pending(Topic("depth", market)))
                    pending.add(message)
        elif message.op == "apply" and self._hub.wants(Channel(market, "aggTrade")):
            self._trades.setdefault(market, []).append(message)
        elif message.op == "retract" and self._hub.wants(Channel(market, "trade")):
            event = event_of("trade", message, listing)
            self._hub.publish(Channel(market, "trade"), event, retraction=True)
        told = channel_of(message)
        if told is None or not self._hub.wants(told):
            return 0
        event = event_of(told.kind, message, listing)
        self._hub.publish(told, event)
        return len(event)

    def _balance(self, message: Message) -> None:
        """Balances are states: a strict client is told of a reorg by the state before."""
        channel = Channel(message.data["account"], "user")
        if not self._hub.wants(channel):
            return
        tokens = {one.address: one for pair in self._directory for one in (pair.base, pair.quote)}
        if token := tokens.get(message.data["token"]):
            self._say(channel, dialect.account_position(message, token))

    def _report(self, message: Message, listing: Listing) -> None:
        channel = Channel(message.data["account"], "user")
        if self._hub.wants(channel):
            event = msgspec.json.encode(dialect.execution_report(message, listing))
            self._hub.publish(channel, event, retraction=message.op == "retract")

    # -- by the clock ----------------------------------------------------------------------------

    async def run(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(TICK_S)
            ticks += 1
            self._books("100ms")
            if ticks % 10 == 0:
                self._books("1000ms")
                try:
                    await self._statistics(klines=ticks % 20 == 0)
                except (SQLAlchemyError, OSError, TimeoutError) as error:
                    _log.debug("no statistics now: %s", error)

    def _books(self, cadence: str) -> None:
        for channel in self._hub.channels:
            listing = self._directory.at(channel.market)
            if listing is None or not channel.kind.endswith(f"@{cadence}"):
                continue
            if CADENCED.fullmatch(channel.kind):
                self._diffs(channel, listing)
            elif (found := PARTIAL.fullmatch(channel.kind)) and self._feed.has_books:
                book, link = self._book(channel.market), self._feed.depth_link(channel.market)
                self._say(channel, dialect.partial_book(book, int(found[1]), link, listing))

    def _diffs(self, channel: Channel, listing: Listing) -> None:
        pending = self._windows.pop(channel, None)
        event = pending.take("", None) if pending else None
        if event is not None:
            prev_seq = event.prev_seq or 0
            depth = dialect.merged_depth(event.data, prev_seq, event.seq, listing)
            self._say(channel, {**depth, "E": event.block.timestamp * 1000})

    async def _statistics(self, *, klines: bool) -> None:
        """Sums of what was traded since, or of what nobody has been told yet."""
        wanted = [
            channel
            for channel in self._hub.channels
            if channel.kind in STATISTICS or (klines and KLINE.fullmatch(channel.kind))
        ]
        traded, self._traded = self._traded, set() if klines else set(self._traded)
        self._told = {one: when for one, when in self._told.items() if one in wanted or not klines}
        for channel in wanted if self._now_s else ():
            if channel.market == EVERYWHERE:
                if traded or channel not in self._told:
                    await self._all_tickers(channel)
            elif (listing := self._directory.at(channel.market)) is not None:
                fresh = channel.market in traded or channel not in self._told
                await self._statistic(channel, listing, fresh=fresh)

    async def _statistic(self, channel: Channel, listing: Listing, *, fresh: bool) -> None:
        if found := KLINE.fullmatch(channel.kind):
            await self._kline(channel, found[1], listing, fresh=fresh)
        elif fresh and (event := await self._summary(channel.kind, listing)) is not None:
            self._told[channel] = 0
            self._say(channel, event)

    async def _summary(self, kind: str, listing: Listing) -> dict[str, Any] | None:
        until = self._now_s + 1
        length = AVERAGE_S if kind == "avgPrice" else DAY_S
        since = until - length
        candle = await read_candle(self._engine, listing.address, since - since % 60, until)
        if candle is None:
            return None
        time = {"E": self._now_s * 1000}
        if kind == "miniTicker":
            return {**dialect.mini_ticker(candle, listing), **time}
        ends = await read_trades(self._engine, listing.address, since - since % 60, until)
        first, last = (ends[0], ends[-1]) if ends else ((-1, 0, 0), (-1, 0, 0))
        if kind == "avgPrice":
            return {**dialect.average(candle, last[2] * 1000, listing), **time}
        book, numbers = self._book(listing.address), (first[0], last[0], last[1])
        return {**dialect.ticker(candle, numbers, book, self._now_s * 1000, listing), **time}

    async def _all_tickers(self, channel: Channel) -> None:
        events = [await self._summary(channel.kind, listing) for listing in self._directory]
        self._told[channel] = 0
        if told := [event for event in events if event is not None]:
            self._say(channel, told)

    async def _kline(
        self, channel: Channel, interval: str, listing: Listing, *, fresh: bool
    ) -> None:
        """The present candle if it changed; the one before once more when it has closed."""
        opened = open_time(interval, self._now_s)
        before = self._told.get(channel, opened)
        turned = before != opened
        if turned:
            await self._tell_candle(channel, interval, before, listing, closed=True)
        if fresh or turned:
            await self._tell_candle(channel, interval, opened, listing, closed=False)
        self._told[channel] = opened

    async def _tell_candle(
        self, channel: Channel, interval: str, opened: int, listing: Listing, *, closed: bool
    ) -> None:
        until = next_open(interval, opened)
        candle = await read_candle(self._engine, listing.address, opened, until)
        if candle is None:
            return
        ends = await read_trades(self._engine, listing.address, opened, until)
        ids = (ends[0][0], ends[-1][0]) if ends else (-1, -1)
        event = dialect.kline(interval, candle, ids, listing, closed=closed)
        self._say(channel, {**event, "E": self._now_s * 1000})

    def _book(self, market: Address) -> Book:
        return self._feed.book(market)

    def _say(self, channel: Channel, event: Any) -> None:
        self._hub.publish(channel, msgspec.json.encode(event))
