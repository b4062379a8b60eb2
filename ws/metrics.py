"""What `/metrics` shows. Gauges read the gateway when asked."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, Metric

from indexer.wire import Message, Times

if TYPE_CHECKING:
    from ws.gateway import Gateway

BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


class Metrics:
    """One registry a gateway."""

    def __init__(self, gateway: "Gateway") -> None:
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
        self._hops = Histogram(
            "tidebook_ws_hop_seconds",
            "How long a block takes from one hop to the next. mined: its timestamp (whole seconds) "
            "to the writer's transaction; committed: that transaction; relayed: from the commit "
            "until the relay hands it to Redis; read: until we have it; told: until it is written "
            "to every client.",
            ["hop"],
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        self._delay = Histogram(
            "tidebook_ws_delay_seconds",
            "From the beginning of the writer's transaction until every client is told",
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        tail, door = gateway.tail, gateway.door
        gauges: tuple[tuple[str, str, Callable[[], float]], ...] = (
            ("connections", "Open connections", lambda: door.inside),
            ("turned_away", "Handshakes refused so far", lambda: door.turned_away),
            ("seq", "Newest message read", lambda: tail.seq),
            ("lag_messages", "Messages the writer has told beyond", gateway.lag_messages),
            ("redis_connected", "Whether Redis answers", lambda: int(tail.connected)),
        )
        for name, told, read in gauges:
            Gauge(f"tidebook_ws_{name}", told, registry=self.registry).set_function(read)
        self.registry.register(_Counted(gateway))

    def passed(self, times: Times, newest: Message, read_us: int) -> None:
        """A batch has been told to everyone."""
        told_us = now_us()
        hops = (
            ("mined", newest.block.timestamp * 1_000_000, times.begun),
            ("committed", times.begun, times.committed),
            ("relayed", times.committed, times.relayed),
            ("read", times.relayed, read_us),
            ("told", read_us, told_us),
        )
        for hop, since_us, until_us in hops:
            self._hops.labels(hop).observe(max(0, until_us - since_us) / 1e6)
        self._delay.observe(max(0, told_us - times.begun) / 1e6)


class _Counted:
    """What the two dialects count for themselves."""

    def __init__(self, gateway: "Gateway") -> None:
        self._gateway = gateway

    def collect(self) -> Iterator[Metric]:
        live = self._gateway.live
        tallies = (("binance", self._gateway.hub.tally), ("v1", live.tally))
        for name, told in (
            ("frames", "Frames written to clients"),
            ("slow_clients", "Clients closed for being slow"),
            ("coalesced", "Times that a slow client was told anew what it had missed"),
        ):
            rows = (((dialect,), getattr(tally, name)) for dialect, tally in tallies)
            yield _counter(f"tidebook_ws_{name}", told, "dialect", rows)
        begun = (((how,), count) for how, count in live.feed.begun.items())
        told = "Channels of /v1 begun: recovered, or with a snapshot and why"
        yield _counter("tidebook_ws_subscriptions", told, "how", begun)


def _counter(
    name: str, told: str, label: str, rows: Iterable[tuple[tuple[str, ...], float]]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, told, labels=[label])
    for labels, count in rows:
        family.add_metric(labels, count)
    return family


def now_us() -> int:
    return time.time_ns() // 1000
