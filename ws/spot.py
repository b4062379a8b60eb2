"""Binance's streams in one process: some as messages come, some by the clock."""

import asyncio
import logging
from typing import Any

import msgspec
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from indexer.domain.listing import Directory, Listing
from indexer.domain.units import Address
from indexer.topics import Topic
from indexer.wire import Message
from ws import dialect
from ws.accounts import Accounts
from ws.channels import CADENCED, PARTIAL, Channel
from ws.hub import Hub
from ws.native.conflate import Pending
from ws.native.feed import Feed
from ws.statistics import Statistics

_log = logging.getLogger("tidebook.ws")

TICK_S = 0.1
TICKS_A_SECOND = 10


class Spot:
    """What the hub's listeners hear. `run` keeps the clock."""

    def __init__(self, hub: Hub, feed: Feed, directory: Directory, engine: AsyncEngine) -> None:
        self._hub = hub
        self._feed = feed
        self._directory = directory
        self._statistics = Statistics(hub, feed, directory, engine, self._say)
        self._accounts = Accounts(directory, lambda one: hub.wants(Channel(one, "user")))
        self._trades: dict[Address, list[Message]] = {}
        self._windows: dict[Channel, Pending] = {}
        self._tops: dict[Address, dict[str, str]] = {}
        self._touched: set[Address] = set()

    # -- as messages come ------------------------------------------------------------------------

    def publish(self, message: Message, listing: Listing | None) -> int:
        """Tell what a message means at once. How many bytes that took."""
        statistics = self._statistics
        statistics.now_s = max(statistics.now_s, message.block.timestamp)
        if message.op not in ("apply", "retract", "snapshot"):
            return 0
        match message.stream:
            case "balances":
                self._accounts.take(message)
            case "execution_reports" if listing is not None:
                self._report(message, listing)
            case "klines" if listing is not None:
                statistics.traded(listing.address)
            case "trades" if listing is not None:
                self._accounts.take(message)
                return self._trade(message, listing)
            case "depth" if listing is not None:
                return self._depth(message, listing)
        return 0

    def end_batch(self) -> None:
        """Blocks are whole: aggregates and accounts are, and the best prices stand."""
        for market, messages in self._trades.items():
            if listing := self._directory.at(market):
                for event in dialect.aggregates(messages, listing):
                    self._say(Channel(market, "aggTrade"), event)
        self._trades.clear()
        for account, event in self._accounts.tell():
            self._say(Channel(account, "user"), event)
        for market in self._touched:
            self._top(market)
        self._touched.clear()

    def _top(self, market: Address) -> None:
        channel, listing = Channel(market, "bookTicker"), self._directory.at(market)
        if listing is None or not self._hub.wants(channel) or not self._feed.has_books:
            return
        book, link = self._feed.book(market), self._feed.depth_link(market)
        held = dialect.best(book, listing)
        if self._tops.get(market) != held:
            self._tops[market] = held
            self._say(channel, dialect.book_ticker(book, link, listing))

    def _depth(self, message: Message, listing: Listing) -> int:
        market = listing.address
        self._touched.add(market)
        for kind in ("depth@100ms", "depth@1000ms"):
            self._gather(Channel(market, kind), message, listing)
        channel = Channel(market, "depth")
        if message.op == "snapshot" or not self._hub.wants(channel):
            return 0
        links, time_s = (message.prev_seq, message.seq), message.block.timestamp
        return self._say(channel, dialect.depth_update(message.data, *links, time_s, listing))

    def _gather(self, channel: Channel, message: Message, listing: Listing) -> None:
        """Keep a diff for the end of its window.

        A book's `snapshot` comes after a backfill that published nothing. Leaving it out makes the
        next diff's `U` jump, which is how every Binance client learns to read the book anew.
        """
        if not self._hub.wants(channel):
            self._windows.pop(channel, None)
        elif message.op == "snapshot":
            self._diffs(channel, listing)
        else:
            topic = Topic("depth", listing.address)
            self._windows.setdefault(channel, Pending(topic)).add(message)

    def _trade(self, message: Message, listing: Listing) -> int:
        market = listing.address
        if message.op == "apply" and self._hub.wants(Channel(market, "aggTrade")):
            self._trades.setdefault(market, []).append(message)
        channel = Channel(market, "trade")
        if not self._hub.wants(channel):
            return 0
        event = dialect.trade(message, listing)
        return self._say(channel, event, retraction=message.op == "retract")

    def _report(self, message: Message, listing: Listing) -> None:
        channel = Channel(message.data["account"], "user")
        if self._hub.wants(channel):
            event = dialect.execution_report(message, listing)
            self._say(channel, event, retraction=message.op == "retract")

    # -- by the clock ----------------------------------------------------------------------------

    async def run(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(TICK_S)
            ticks += 1
            self._hub.tend()
            self._books("100ms")
            if ticks % TICKS_A_SECOND == 0:
                self._books("1000ms")
                try:
                    await self._statistics.tell(slow=ticks % (2 * TICKS_A_SECOND) == 0)
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
                book, link = self._feed.book(channel.market), self._feed.depth_link(channel.market)
                self._say(channel, dialect.partial_book(book, int(found[1]), link, listing))

    def _diffs(self, channel: Channel, listing: Listing) -> None:
        pending = self._windows.pop(channel, None)
        event = pending.take("", None) if pending else None
        if event is not None:
            links, time_s = (event.prev_seq or 0, event.seq), event.block.timestamp
            self._say(channel, dialect.depth_update(event.data, *links, time_s, listing))

    def _say(self, channel: Channel, event: Any, *, retraction: bool = False) -> int:
        payload = msgspec.json.encode(event)
        self._hub.publish(channel, payload, retraction=retraction)
        return len(payload)
