"""A reader of the streams that knows nothing but messages, and trusts none of them.

It keeps books, orders, balances and trades as messages tell them, and checks what is promised:
numbers without gap, channels linked, a number told once and for ever, retractions newest first,
blocks promoted once per stream and level.
"""

from typing import Any

import msgspec

from indexer.memory_streams import Redis
from indexer.relay import Entry

Origin = tuple[str, int | None, str]
"""What a fact is known by: its block's hash, its log, and its name."""


class BadMessage(AssertionError):
    """A message that breaks a promise."""


class Client:
    """Follows from wherever it begins. `told` may be shared: all clients must hear the same."""

    def __init__(self, told: dict[tuple[str, int], str]) -> None:
        self.epoch: str | None = None
        self.seq = 0
        self.channels: dict[str, int] = {}
        self.books: dict[str, dict[str, dict[int, list[Any]]]] = {}
        self.state: dict[tuple[str, ...], Any] = {}
        """Newest image of each order and balance told of since the last snapshot."""
        self.trades: list[tuple[int, int]] = []
        self.since = -1
        """Nothing is known of blocks up to here: the last snapshot's."""
        self._told = told
        self._applied: dict[str, list[Origin]] = {}
        self._promoted: set[tuple[str, str, str]] = set()
        self._open = False
        self._list: list[Entry] = []
        self._count = 0

    def read(self, redis: Redis) -> None:
        """Take what is new. An emptied Redis tells again what is known: that is passed over."""
        if redis.epoch is None:
            return
        if self._list is not redis.entries or len(redis.entries) < self._count:
            self._list, self._count = redis.entries, 0
        start, self._count = self._count, len(redis.entries)
        for entry in redis.entries[start:]:
            known = self._told.setdefault((redis.epoch, entry.seq), entry.message)
            _require(known == entry.message, "a number means one message for ever", entry)
            if entry.seq <= self.seq:
                continue
            _require(entry.seq == self.seq + 1, f"seq {self.seq + 1} is next", entry)
            self.seq = entry.seq
            self._take(msgspec.json.decode(entry.message))

    def _take(self, message: dict[str, Any]) -> None:
        _require(self.epoch in (None, message["epoch"]), f"epoch {self.epoch}", message)
        self.epoch = message["epoch"]
        channel = _channel(message)
        before = self.channels.get(channel, 0)
        _require(message["prev_seq"] == before, f"prev_seq {before} of {channel}", message)
        self.channels[channel] = message["seq"]
        match message["op"]:
            case "apply":
                _require(not self._open, "no apply amid a reorg", message)
                self._applied.setdefault(message["stream"], []).append(_origin(message))
                self._set(message)
            case "retract":
                _require(self._open, "retractions between brackets", message)
                self._retract(message)
                self._set(message)
            case "promote":
                key = (message["stream"], message["block"]["hash"], message["finality"])
                _require(key not in self._promoted, "a block promoted once", message)
                self._promoted.add(key)
            case "snapshot":
                self._snapshot(message)
            case "system":
                self._open = message["data"]["event"] == "reorg.begin"
            case other:
                raise BadMessage(f"expected a known op, found {other}")

    def _retract(self, message: dict[str, Any]) -> None:
        stack = self._applied.get(message["stream"], [])
        block, log_index, name = _origin(message)
        final = (message["stream"], block, "finalized")
        _require(final not in self._promoted, "what is final stays", message)
        if message["stream"] == "trades":
            _require(bool(stack) and stack[-1] == (block, log_index, name), "newest first", message)
            stack.pop()
            return
        newest = [at for at in stack if at[:2] == stack[-1][:2]] if stack else []
        _require((block, log_index, name) in newest, "newest first", message)
        del stack[len(stack) - 1 - stack[::-1].index((block, log_index, name))]

    def _set(self, message: dict[str, Any]) -> None:
        data = message["data"]
        match message["stream"]:
            case "depth":
                book = self.books.setdefault(message["market"], {"bids": {}, "asks": {}})
                for side in ("bids", "asks"):
                    for level in data[side]:
                        book[side][int(level[0])] = level
            case "orders":
                self.state["order", message["market"], str(data["order_id"])] = data["order"]
            case "balances":
                self.state["balance", data["account"], data["token"]] = data["balance"]
            case "klines":
                self.state["candle", message["market"], str(data["open_time"])] = data["candle"]
            case "trades":
                name = (data["block_number"], data["log_index"])
                if message["op"] == "apply":
                    self.trades.append(name)
                else:
                    _require(self.trades.pop() == name, "trades retracted newest first", message)
            case _:
                """Reports and system messages leave no state."""

    def _snapshot(self, message: dict[str, Any]) -> None:
        if message["stream"] == "system":
            self.books, self.state, self.trades = {}, {}, []
            self._applied = {}
            self.since = message["data"]["block"]["number"]
        else:
            sides = {
                side: {int(level[0]): level for level in message["data"][side]}
                for side in ("bids", "asks")
            }
            self.books[message["market"]] = sides

    def depth(self) -> dict[str, dict[str, list[list[Any]]]]:
        """All books that hold anything, best first."""
        found = {}
        for market, book in self.books.items():
            sides = {
                side: [
                    book[side][price]
                    for price in sorted(book[side], reverse=side == "bids")
                    if book[side][price][1] != "0"
                ]
                for side in book
            }
            if any(sides.values()):
                found[market] = sides
        return found


def _channel(message: dict[str, Any]) -> str:
    stream = message["stream"]
    if message["op"] == "promote" or stream == "system":
        return str(stream)
    if stream in ("orders", "balances", "execution_reports"):
        return f"{stream}:{message['data']['account']}"
    return f"{stream}:{message['market']}"


def _origin(message: dict[str, Any]) -> Origin:
    data = message["data"]
    names = ("order_id", "account", "token", "open_time", "kind", "event", "is_maker")
    name = " ".join(str(data.get(field)) for field in names)
    return (message["block"]["hash"], message["log_index"], f"{message['market']} {name}")


def _require(holds: bool, expected: str, found: object) -> None:
    if not holds:
        raise BadMessage(f"expected {expected}, found {found}")
