"""From the tail to the hub: the one task that a gateway process runs beside its connections."""

import asyncio
import contextlib
import logging

from prometheus_client import CollectorRegistry, Counter, Gauge
from sqlalchemy.exc import SQLAlchemyError

from indexer.domain.listing import Directory
from indexer.domain.units import Address
from indexer.wire import Message
from ws.channels import channel_of, payload
from ws.hub import Hub
from ws.markets import connect, read_listings
from ws.tail import Tail

_log = logging.getLogger("tidebook.ws")

REFRESH_S = 5.0
"""Seconds between looks for new markets; one that appears in the stream is looked up at once."""

PREPARE_S = 2.0
"""Seconds that a start waits for Redis before it serves without."""
BURST_BYTES = 16 * 1024
"""Bytes of events of one channel queued before their senders get a turn."""


class Gateway:
    """Markets, tail and hub of one process."""

    def __init__(self, database_url: str, redis_url: str, chain_id: int) -> None:
        self.directory = Directory()
        self.hub = Hub()
        self.tail = Tail(redis_url, chain_id, self._publish, self._dismiss)
        self.markets_known = False
        """Whether Postgres answered when last asked."""
        self.metrics = Metrics(self)
        self._engine = connect(database_url)
        self._unlisted: set[Address] = set()

    async def run(self) -> None:
        """Feed the hub until cancelled. An unexpected error ends it, and so should the process."""
        refreshing = asyncio.create_task(self._keep_refreshing())
        try:
            await self.tail.run()
        finally:
            refreshing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await refreshing
            await self._engine.dispose()

    async def prepare(self) -> None:
        """Wait until a subscriber would miss nothing; not for long if a server is away."""
        await self._refresh()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.tail.positioned.wait(), PREPARE_S)

    async def _publish(self, messages: list[Message]) -> None:
        unsent_bytes = 0
        for message in messages:
            self.metrics.messages.labels(message.stream).inc()
            market = message.market
            if message.stream == "system" and (market or message.op == "snapshot"):
                await self._refresh()  # a market came or went, or a backfill brought some
            if market is None:
                continue
            if self.directory.at(market) is None and market not in self._unlisted:
                await self._refresh()
                if self.directory.at(market) is None:
                    self._unlisted.add(market)  # taken back since, or Postgres is away
            channel = channel_of(message)
            listing = self.directory.at(market)
            if channel is None:
                continue
            if listing is None:
                self.metrics.unlisted.inc()
            elif self.hub.wants(channel):
                event = payload(channel.kind, message, listing)
                self.hub.publish(channel, event)
                unsent_bytes += len(event)
            if unsent_bytes > BURST_BYTES:
                unsent_bytes = 0
                await asyncio.sleep(0)  # the senders' turn: a burst makes nobody slow

    def _dismiss(self) -> None:
        self.hub.dismiss("history was rebuilt: reconnect and take a new snapshot")

    async def _keep_refreshing(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            await self._refresh()
            self._unlisted.clear()

    async def _refresh(self) -> None:
        """Read the markets. While Postgres is away the ones we know stay."""
        try:
            self.directory.fill(await read_listings(self._engine))
            self.markets_known = True
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            if self.markets_known:
                _log.warning("cannot read the markets (%s): the known ones stay", error)
            self.markets_known = False


class Metrics:
    """What `/metrics` shows. Gauges read the gateway when asked."""

    def __init__(self, gateway: Gateway) -> None:
        self.registry = CollectorRegistry()
        self.messages = Counter(
            "tidebook_ws_messages",
            "Messages read from Redis Streams",
            ["stream"],
            registry=self.registry,
        )
        self.unlisted = Counter(
            "tidebook_ws_unlisted_messages",
            "Messages of markets that Postgres does not have",
            registry=self.registry,
        )
        hub, tail = gateway.hub, gateway.tail
        for name, told, read in (
            ("connections", "Open connections", lambda: len(hub)),
            ("queued_frames", "Frames queued for clients so far", lambda: hub.frames),
            ("slow_clients", "Clients closed for being slow so far", lambda: hub.slow_clients),
            ("seq", "Newest message read", lambda: tail.seq),
            ("redis_connected", "Whether Redis answers", lambda: int(tail.connected)),
        ):
            Gauge(f"tidebook_ws_{name}", told, registry=self.registry).set_function(read)
