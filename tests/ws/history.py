"""The history checker: what one listener was told, held against what a feed may say. Pure.

`Native` and `Binance` hear the frames of one client through all its connections and raise Broken at
the first gap, duplicate, unmatched retraction, wrong checksum or heartbeat that knows better. They
share no code with the gateway or with `ws.client`.
"""

import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
Levels = dict[str, dict[int, tuple[str, int]]]
"""By side and price: quantity and how many orders."""


class Broken(AssertionError):
    """The feed has lied. The message says how."""


def require(truth: bool, words: str, *about: object) -> None:
    if not truth:
        raise Broken(f"{words}: {about}")


@dataclass
class History:
    """One channel of one client: links, and what they add up to."""

    channel: str
    conflate: str = "raw"
    epoch: str | None = None
    seq: int = 0
    told: int = 0
    """Newest seq on this connection, words between links included."""
    in_reorg: bool | None = None
    """Between the brackets; None where we came in the middle."""
    holds: bool = False
    """Whether what it was told since a snapshot is whole."""
    seen: Counter[str] = field(default_factory=Counter)

    def request(self) -> Json:
        data: Json = {"channel": self.channel, "conflate": self.conflate}
        if self.holds:
            data["from"] = {"epoch": self.epoch, "seq": self.seq}
        return {"type": "subscribe", "data": data}

    def begin(self, data: Json) -> None:
        if data["recovered"]:
            require(self.holds, "recovered what was never told", data)
            require((data["epoch"], data["seq"]) == (self.epoch, self.seq), "another place", data)
            self.seen["recovered"] += 1
        else:
            self.seen[f"snapshot: {str(data['reason']).partition(':')[0]}"] += 1
            self.epoch, self.seq, self.in_reorg = data["epoch"], data["seq"], None
            self.replace(data.get("snapshot", {}))
            self.holds = self.epoch is not None
        self.told = self.seq
        self.check(data)

    def event(self, data: Json) -> None:
        require(self.holds, "an event before the channel began", data)
        require(data["epoch"] == self.epoch, "another epoch without a snapshot", data)
        require(data["seq"] > self.told, "told before", self.told, data)
        self.told = data["seq"]
        if data["prev_seq"] is None:
            self.word(data)
            return
        require(data["prev_seq"] >= self.seq, "a duplicate", self.seq, data)
        require(data["prev_seq"] <= self.seq, "a gap", self.seq, data)
        self.seq = data["seq"]
        self.seen["links"] += 1
        for one in data["data"]["messages"] if data["op"] == "batch" else [data]:
            if one["op"] == "retract" and self.conflate in ("raw", "block"):
                require(self.in_reorg is not False, "a retraction outside of a reorg", data)
            self.take(one)
        self.check(data)

    def word(self, data: Json) -> None:
        if data["op"] == "promote":
            self.seen["promotes"] += 1
            return
        begins = data["data"]["event"] == "reorg.begin"
        self.in_reorg = begins
        self.seen["reorgs"] += begins

    def beat(self, newest: int) -> None:
        require(newest == self.seq, "a heartbeat that knows better", self.channel, newest, self.seq)

    def replace(self, snapshot: Json) -> None:
        """Take a snapshot for the truth."""

    def take(self, message: Json) -> None:
        """Take one message of the channel."""

    def check(self, data: Json) -> None:
        """Hold a checksum against what we have."""


@dataclass
class Book(History):
    """`depth`: a retraction must leave exactly what was there before its apply."""

    sides: Levels = field(default_factory=lambda: {"bids": {}, "asks": {}})
    applied: list[tuple[str, int]] = field(default_factory=list)
    """Block and checksum of the whole book before it, newest last."""

    def replace(self, snapshot: Json) -> None:
        self.sides = {"bids": {}, "asks": {}}
        self.applied.clear()
        self._set(snapshot)

    def take(self, message: Json) -> None:
        if message["op"] == "snapshot":
            self.replace(message["data"])
            return
        block, before = message["block"]["hash"], self._whole()
        self._set(message["data"])
        if self.conflate != "raw":
            return
        if message["op"] == "apply":
            self.applied.append((block, before))
        elif self.applied:
            last, expected = self.applied.pop()
            require(last == block, "retracts another block than the newest", block, last)
            require(self._whole() == expected, "not the book before", message["seq"])
            self.seen["retracts"] += 1

    def check(self, data: Json) -> None:
        if "checksum" in data:
            text = "".join(f"{price}{quantity}" for price, quantity in self._best())
            require(zlib.crc32(text.encode()) == data["checksum"], "checksum", self.seq)
            self.seen["checksums"] += 1

    def levels(self, side: str) -> list[list[str | int]]:
        """As `tidebook export` shows them."""
        held = sorted(self.sides[side].items(), reverse=side == "bids")
        return [[str(price), quantity, count] for price, (quantity, count) in held]

    def _best(self) -> Iterator[tuple[int, str]]:
        for side in ("asks", "bids"):
            for price in sorted(self.sides[side], reverse=side == "bids")[:10]:
                yield price, self.sides[side][price][0]

    def _set(self, levels: Json) -> None:
        for side, held in self.sides.items():
            for price, quantity, count in levels[side]:
                if quantity == "0":
                    held.pop(int(price), None)
                else:
                    held[int(price)] = (quantity, count)

    def _whole(self) -> int:
        return hash(tuple(frozenset(one.items()) for one in self.sides.values()))


@dataclass
class Facts(History):
    """`trades` and `execution_reports`: each is told once, and only the newest is taken back."""

    applied: list[tuple[Any, ...]] = field(default_factory=list)

    def replace(self, snapshot: Json) -> None:
        self.applied.clear()

    def take(self, message: Json) -> None:
        fact = _identity(message)
        if message["op"] == "apply":
            require(fact not in self.applied[-200:], "the same fact twice", fact)
            self.applied.append(fact)
        elif self.applied:
            require(self.applied.pop() == fact, "retracts another fact than the newest", fact)
            self.seen["retracts"] += 1


@dataclass
class States(History):
    """`balances`, `orders`, `klines`: each message sets one state."""

    held: dict[Any, Any] = field(default_factory=dict)

    def replace(self, snapshot: Json) -> None:
        self.held = {}
        for one in next(iter(snapshot.values()), []):
            self._set(one.get("market"), one)

    def take(self, message: Json) -> None:
        self._set(message["market"], message["data"])

    def _set(self, market: str | None, data: Json) -> None:
        for key, state in (("token", "balance"), ("order_id", "order"), ("open_time", "candle")):
            if key in data:
                place = (market if key == "order_id" else None, data[key])
                self.held[place] = data[state]
                if data[state] is None:
                    del self.held[place]


def _identity(message: Json) -> tuple[Any, ...]:
    data = message["data"]
    names = ("log_index", "order_id", "kind", "filled")
    return (message["block"]["hash"], message["log_index"], *(data.get(name) for name in names))


KINDS: dict[str, type[History]] = {
    "depth": Book,
    "trades": Facts,
    "execution_reports": Facts,
    "balances": States,
    "orders": States,
    "klines": States,
    "system": History,
}


class Native:
    """Everything one client of `/v1` was told, over all its connections."""

    def __init__(self, channels: list[tuple[str, str]]) -> None:
        self.channels = {
            name: KINDS[name.partition(":")[0]](name, conflate) for name, conflate in channels
        }
        self.open: set[str] = set()
        """Channels that have begun on this connection."""
        self.seen: Counter[str] = Counter()

    def connected(self) -> list[Json]:
        """What to say on a new connection."""
        self.open.clear()
        self.seen["connections"] += 1
        return [one.request() for one in self.channels.values()]

    def hear(self, frame: Json) -> None:
        data = frame["data"]
        match frame["type"]:
            case "subscribed":
                self.channels[data["channel"]].begin(data)
                self.open.add(data["channel"])
            case "event":
                require(data["channel"] in self.open, "an event before the answer", data)
                self.channels[data["channel"]].event(data)
            case "heartbeat":
                for name, newest in data["channels"].items():
                    self.channels[name].beat(newest)
                self.seen["heartbeats"] += 1
            case "error":
                self.seen[f"error {data['code']}"] += 1
            case other:
                self.seen[other] += 1

    def counts(self) -> Counter[str]:
        return sum((one.seen for one in self.channels.values()), self.seen)


class Binance:
    """Everything one strict client was told: diffs that bridge its snapshot, trades once each."""

    def __init__(self, market: str, depth: str) -> None:
        self.market = market
        streams = [f"{market}@depth{depth}", f"{market}@trade"]
        self.requests = [("SET_PROPERTY", ["retractions", True]), ("SUBSCRIBE", streams)]
        self.link: int | None = None
        self.sides: dict[str, dict[str, str]] = {"b": {}, "a": {}}
        self.trades: list[int] = []
        self.early: list[Json] = []
        self.newest: int | None = None
        self.answers = 0
        self.seen: Counter[str] = Counter()

    def connected(self) -> None:
        """A new connection: what it held continues nothing. Its snapshot follows."""
        self.link, self.newest, self.early, self.trades = None, None, [], []
        self.answers = 0
        self.seen["connections"] += 1

    def snapshot(self, answer: Json) -> None:
        """`/api/v3/depth`, read after the connection was made."""
        self.link = answer["lastUpdateId"]
        self.sides = {"b": dict(answer["bids"]), "a": dict(answer["asks"])}
        early, self.early = self.early, []
        for event in early:
            self._apply(event)

    def hear(self, event: Json) -> None:
        match event.get("e"):
            case None:
                require(event["result"] is None, "refused", event)
                self.answers += 1
            case "depthUpdate":
                self._chain(event)
            case "trade":
                require(event["t"] not in self.trades, "the same trade twice", event)
                self.trades.append(event["t"])
                self.seen["trades"] += 1
            case "tradeRetracted":
                if self.trades:
                    require(self.trades.pop() == event["t"], "retracts another trade", event)
                    self.seen["retracts"] += 1
            case other:
                self.seen[str(other)] += 1

    def _chain(self, event: Json) -> None:
        require(event["U"] == event["pu"] + 1 <= event["u"], "links", event)
        if self.newest is not None:
            require(event["pu"] == self.newest, "a gap between diffs", self.newest, event)
        self.newest = event["u"]
        self.seen["diffs"] += 1
        if self.link is None:
            self.early.append(event)
        else:
            self._apply(event)

    def _apply(self, event: Json) -> None:
        assert self.link is not None, "applied without a snapshot"
        if event["u"] <= self.link:
            return
        require(event["U"] <= self.link + 1, "does not bridge the snapshot", self.link, event)
        self.link = event["u"]
        for side, held in self.sides.items():
            for price, quantity in event[side]:
                if float(quantity) == 0:
                    held.pop(price, None)
                else:
                    held[price] = quantity
