"""From the tail to the hub: the one task that a gateway process runs beside its connections."""

import asyncio
import contextlib
import logging
import math
import random
from typing import Any

import redis.asyncio as redis
from sqlalchemy.exc import SQLAlchemyError

from indexer.domain.listing import Directory, Listing
from indexer.domain.units import Address
from indexer.store.tail import Tail
from indexer.wire import Message
from ws.door import Door
from ws.hub import Hub
from ws.limits import SHUTDOWN_JITTER_MS, Limits
from ws.markets import connect, read_listings
from ws.metrics import Metrics, now_us
from ws.native.live import Live
from ws.native.past import Past
from ws.native.pulse import Pulse
from ws.spot import Spot

_log = logging.getLogger("tidebook.ws")

REFRESH_S = 5.0
"""Seconds between looks for new markets; one that appears in the stream is looked up at once."""

SHOWN = 100
"""Addresses and connections that `/connections` tells of."""
PREPARE_S = 2.0
"""Seconds that a start waits for Redis before it serves without."""
BURST_BYTES = 16 * 1024
"""Bytes of events of one channel queued before their senders get a turn."""


class Gateway:
    """Markets, tail and hub of one process."""

    def __init__(self, database_url: str, redis_url: str, chain_id: int, limits: Limits) -> None:
        self.limits = limits
        self.directory = Directory()
        self.hub = Hub()
        self.door = Door(limits)
        self._pool = connect(database_url, pooled=True)
        self._history: redis.Redis = redis.Redis.from_url(redis_url, protocol=2, socket_timeout=5)
        self._past = Past(self._pool, self._history, chain_id, limits.replay_messages)
        self.live = Live(self.directory, self._past, limits)
        self.pulse = Pulse(self.live)
        self.spot = Spot(self.hub, self.live.feed, self.directory, self._pool)
        self.tail = Tail(redis_url, chain_id, self._publish, self._dismiss)
        self.markets_known = False
        """Whether Postgres answered when last asked."""
        self.metrics = Metrics(self)
        self._engine = connect(database_url)
        self._unlisted: set[Address] = set()
        self._told_before = 0
        """Up to there our first strict clients know everything by REST: it is no news to them."""
        self._publishing = asyncio.Lock()
        """Books are read while nothing is published: they belong to one position."""

    async def run(self) -> None:
        """Feed the hub until cancelled. An unexpected error ends it, and so should the process."""
        refreshing = asyncio.create_task(self._keep_refreshing())
        pulsing = asyncio.create_task(self.pulse.run())
        tailing = asyncio.create_task(self.tail.run())
        ticking = asyncio.create_task(self.spot.run())
        tasks = (tailing, refreshing, pulsing, ticking)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self.live.stop()
            await self._history.aclose()
            await self._pool.dispose()
            await self._engine.dispose()

    async def prepare(self) -> None:
        """Wait until a subscriber would miss nothing; not for long if a server is away."""
        await self._refresh()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PREPARE_S):
                await self.tail.positioned.wait()
        async with self._publishing:
            await self._match_books()
            if self.live.feed.has_books:
                self._told_before = self.live.feed.books_seq

    def health(self) -> dict[str, Any]:
        """What this process is connected to, and how far behind the writer it is."""
        lag = self.lag_messages()
        return {
            "status": "ok" if self.tail.connected else "unavailable",
            "redis": self.tail.connected,
            "database": self.markets_known,
            "epoch": self.tail.epoch,
            "seq": self.tail.seq,
            "lag_messages": None if math.isnan(lag) else lag,
            "markets": len(self.directory),
            "connections": self.door.inside,
        }

    def lag_messages(self) -> float:
        """How many messages the writer has committed that we have not read; NaN if unknown."""
        head = self.live.feed.head
        if head is None or head.epoch != self.tail.epoch:
            return math.nan
        return max(0, head.seq - self.tail.seq)

    def connections(self) -> dict[str, Any]:
        """Who is connected: counts, and the addresses and connections that take most."""
        guests = sorted(self.door.guests.values(), key=lambda one: -one.connections)
        clients = [*self.hub.clients, *(one.client for one in self.live.listeners)]
        waiting = sorted((one.outlet.buffered() for one in clients), reverse=True)
        return {
            "connections": self.door.inside,
            "native": len(self.live.listeners),
            "binance": len(self.hub),
            "turned_away": self.door.turned_away,
            "subscriptions": sum(guest.subscriptions for guest in guests),
            "addresses": {
                guest.address: {
                    "connections": guest.connections,
                    "subscriptions": guest.subscriptions,
                }
                for guest in guests[:SHOWN]
            },
            "waiting_bytes": waiting[:SHOWN],
        }

    def jitter_ms(self) -> int:
        """How long a client should wait before it comes back, so that not all do at once."""
        return random.randrange(SHUTDOWN_JITTER_MS)  # not a secret

    async def _match_books(self) -> None:
        """Have books of the history that the tail reads, if they can be had."""
        feed = self.live.feed
        feed.epoch = self.tail.epoch or feed.epoch
        if not feed.has_books:
            await feed.load_books(self._past)

    async def _publish(self, messages: list[Message]) -> None:
        read_us = now_us()
        async with self._publishing:
            await self._match_books()
            await self._tell(messages)
        self.live.flush("block")
        self.spot.end_batch()
        self.pulse.look()
        loop = asyncio.get_running_loop()
        for times in self.tail.times:  # behind what is written at the end of this turn
            loop.call_soon(self.metrics.passed, times, messages[-1], read_us)

    async def _tell(self, messages: list[Message]) -> None:
        unsent_bytes = 0
        for message in messages:
            self.metrics.messages.labels(message.stream).inc()
            self.hub.position = f"{message.epoch}/{message.seq}"
            market = message.market
            if message.stream == "system" and (market or message.op == "snapshot"):
                await self._refresh()  # a market came or went, or a backfill brought some
            if message.stream == "system" and message.op == "snapshot":
                self.live.renew("rebuilt", books=False)
            if market is None:
                self.live.publish(message)
                self._tell_strictly(message, None)
                continue
            if self.directory.at(market) is None and market not in self._unlisted:
                await self._refresh()
                if self.directory.at(market) is None:
                    self._unlisted.add(market)  # taken back since, or Postgres is away
            strict = self.live.feed.as_change(message) if message.stream == "depth" else message
            self.live.publish(message)
            listing = self.directory.at(market)
            if listing is None:
                self.metrics.unlisted.inc()
            else:
                unsent_bytes += self._tell_strictly(strict, listing)
            if unsent_bytes > BURST_BYTES:
                unsent_bytes = 0
                await asyncio.sleep(0)  # the transports' turn: a burst makes nobody slow

    def _tell_strictly(self, message: Message, listing: Listing | None) -> int:
        """Tell Binance's clients; how many bytes that took."""
        return 0 if message.seq <= self._told_before else self.spot.publish(message, listing)

    async def _dismiss(self) -> None:
        """Another history begins: strict clients must come again, ours get fresh snapshots."""
        self.hub.dismiss("history was rebuilt: reconnect and take a new snapshot")
        async with self._publishing:
            self._told_before = 0
            self.live.feed.begin_anew()
            await self.live.feed.load_books(self._past)
            await self._match_books()
            self.live.renew("epoch_changed")

    async def _keep_refreshing(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            await self._refresh()
            self._unlisted.clear()
            async with self._publishing:
                await self._match_books()

    async def _refresh(self) -> None:
        """Read the markets. While Postgres is away the ones we know stay."""
        try:
            self.directory.fill(await read_listings(self._engine))
            self.markets_known = True
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            if self.markets_known:
                _log.warning("cannot read the markets (%s): the known ones stay", error)
            self.markets_known = False
