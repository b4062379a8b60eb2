"""A reader of the streams that knows nothing but messages, and trusts none of them.

It begins with what Postgres holds at some seq, then keeps books, orders, balances, candles and
trades as messages tell them, and checks what is promised: numbers without gap, channels linked,
retractions newest first and each the exact inverse, blocks promoted
once per stream and level. Where the streams no longer hold what comes next, it begins again.
"""

from collections import Counter
from typing import Any

import msgspec

from indexer import payloads
from indexer.domain.balance import Balance
from indexer.domain.order import Candle, Level, Order
from indexer.store import tables
from indexer.store.memory import Disk
from tests.simulation.redis import Redis

Key = tuple[str, ...]


class BadMessage(AssertionError):
    """A message that breaks a promise."""


class Applied(msgspec.Struct, frozen=True):
    """Something a block did, by its log, and what it replaced."""

    block: int
    hash: str
    log_index: int | None
    name: str
    before: dict[Key, Any]


class Client:
    def __init__(self, seen: Counter[str]) -> None:
        self.epoch: str | None = None
        self.seq = 0
        self.channels: dict[str, int] = {}
        self.state: dict[Key, Any] = {}
        """Newest image of each level, order, balance and candle."""
        self.trades: set[tuple[int, int]] = set()
        self.whole = False
        """Nothing was forgotten since the start."""
        self._seen = seen
        self._applied: dict[str, list[Applied]] = {}
        self._promoted: dict[tuple[str, str, str], int] = {}
        """Stream, block hash and level, and the block's height."""
        self._writes = -1
        """Of Redis, when it was read last."""
        self._ancestor: int | None = None
        """Of the reorg that is being told."""
        self._minutes: set[tuple[str, ...]] = set()

    # -- reading ----------------------------------------------------------------------------------

    def start(self, disk: Disk) -> bool:
        """Begin with what is committed; False while that is told by no stream."""
        cursor = disk.cursor
        if cursor is None or not cursor["live"]:
            return False
        self.whole = True
        self.epoch, self.seq = cursor["epoch"], cursor["seq"]
        self.channels = disk.channels()
        self.state, self.trades = stored(disk)
        self._applied, self._promoted, self._ancestor = {}, {}, None
        return True

    def read(self, redis: Redis, disk: Disk) -> None:
        """Take what is new. Begins again where something is missing, or the epoch is another."""
        epoch = redis.position.get(b"epoch", b"").decode()
        if not epoch or (epoch == self.epoch and redis.writes == self._writes):
            return
        self._writes = redis.writes
        if epoch != self.epoch and not self.start(disk):
            return
        for seq, message in redis.entries(self.seq):
            if seq <= self.seq:
                continue  # it began again
            if seq != self.seq + 1:
                self._seen["a client that missed something"] += 1
                if not self.start(disk):
                    self.epoch = None
                    return
                continue
            self.seq = seq
            self._take(msgspec.json.decode(message))

    def _take(self, message: dict[str, Any]) -> None:
        _require(message["epoch"] == self.epoch, f"epoch {self.epoch}", message)
        channel = _channel(message)
        before = self.channels.get(channel, 0)
        _require(message["prev_seq"] == before, f"prev_seq {before} of {channel}", message)
        self.channels[channel] = message["seq"]
        match message["op"]:
            case "apply":
                _require(self._ancestor is None, "no apply amid a reorg", message)
                self._apply(message)
            case "retract":
                self._retract(message)
            case "promote":
                key = (message["stream"], message["block"]["hash"], message["finality"])
                _require(key not in self._promoted, "a block promoted once", message)
                self._promoted[key] = message["block"]["number"]
            case "snapshot":
                self._snapshot(message)
            case "system":
                self._system(message["data"])
            case other:
                raise BadMessage(f"expected a known op, found {other}")

    def _system(self, data: dict[str, Any]) -> None:
        match data["event"]:
            case "reorg.begin":
                _require(self._ancestor is None, "one reorg at a time", data)
                self._ancestor = data["ancestor"]["number"]
                self._minutes = set()
            case "reorg.end":
                ancestor = data["ancestor"]["number"]
                _require(self._ancestor == ancestor, "the same reorg", data)
                for stack in self._applied.values():
                    left = [one for one in stack if one.block > ancestor]
                    _require(not left, "everything above the ancestor retracted", left)
                gone = [key for key, at in self._promoted.items() if at > ancestor]
                for key in gone:  # it may come back, and is promoted anew
                    _require(key[2] == "safe", "what is final stays", key)
                    del self._promoted[key]
                self._ancestor = None
            case "restart":
                """The first word of an epoch; a snapshot follows."""
            case other:
                raise BadMessage(f"expected a known event, found {other}")

    # -- what messages do -------------------------------------------------------------------------

    def _apply(self, message: dict[str, Any]) -> None:
        images = _images(message)
        before = {key: self.state.get(key) for key in images if self._knows(key)}
        block = message["block"]
        self._applied.setdefault(message["stream"], []).append(
            Applied(block["number"], block["hash"], message["log_index"], _name(message), before)
        )
        self._set(images)
        if message["stream"] == "trades":
            data = message["data"]
            name = (data["block_number"], data["log_index"])
            _require(name not in self.trades, "a trade told once", message)
            self.trades.add(name)

    def _retract(self, message: dict[str, Any]) -> None:
        stream, block = message["stream"], message["block"]
        _require(self._ancestor is not None, "retractions between brackets", message)
        final = (stream, block["hash"], "finalized")
        _require(final not in self._promoted, "what is final stays", message)
        stack = self._applied.get(stream, [])
        images = _images(message)
        if stack:
            at = (block["hash"], message["log_index"])
            newest = [one for one in stack if (one.hash, one.log_index) == at]
            top = (stack[-1].hash, stack[-1].log_index)
            _require(at == top, f"newest first: {top}", message)
            found = next((one for one in newest if one.name == _name(message)), None)
            _require(found is not None, f"one of {newest}", message)
            assert found is not None
            inverse = {key: images.get(key) for key in found.before}
            _require(found.before == inverse, f"the exact inverse {found.before}", message)
            stack.remove(found)
        self._set(images)
        data = message["data"]
        if stream == "trades":
            name = (data["block_number"], data["log_index"])
            _require(name in self.trades, "a trade that was told", message)
            self.trades.remove(name)
        elif stream == "klines":
            self._minutes.add((message["market"], str(data["open_time"])))
            if len({minute for _, minute in self._minutes}) > 1:
                self._seen["a reorg across a candle's close"] += 1
        elif stream == "system" and data["event"] == "market":
            self._seen["a reorg across a market's creation"] += 1

    def _knows(self, key: Key) -> bool:
        """Whether its absence means anything."""
        return self.whole or key[0] == "level" or key in self.state

    def _set(self, images: dict[Key, Any]) -> None:
        for key, image in images.items():
            if image is None:
                self.state.pop(key, None)
            else:
                self.state[key] = image

    def _snapshot(self, message: dict[str, Any]) -> None:
        """Books are told whole; what else there is may be other by now, and is forgotten."""
        if message["stream"] == "system":
            self.state, self.trades, self._applied, self.whole = {}, set(), {}, False
            return
        for key, image in _levels(message["market"], message["data"]).items():
            _require(image is not None, "a level that holds something", message)
            self.state[key] = image

    # -- what it must have heard ------------------------------------------------------------------

    def unpromoted(self, final: int) -> list[tuple[str, str]]:
        """What was told of blocks up to `final` and not promoted."""
        return [
            (stream, one.hash)
            for stream, stack in self._applied.items()
            for one in stack
            if one.block <= final and (stream, one.hash, "finalized") not in self._promoted
        ]


def stored(disk: Disk) -> tuple[dict[Key, Any], set[tuple[int, int]]]:
    """The state that the tables tell, as messages would, and the names of all trades."""
    found: dict[Key, Any] = {}
    for row in disk.rows(tables.levels).values():
        level = _record(Level, row)
        if level.quantity or level.order_count:
            found["level", level.market, level.side, str(level.price)] = payloads.level_data(level)
    for row in disk.rows(tables.orders).values():
        order = _record(Order, row)
        found["order", order.market, str(order.order_id)] = payloads.order_data(order)
    for row in disk.rows(tables.balances).values():
        balance = _record(Balance, row)
        found["balance", balance.account, balance.token] = payloads.balance_data(balance)
    for row in disk.rows(tables.candles).values():
        candle = _record(Candle, row)
        found["candle", candle.market, str(candle.open_time)] = payloads.candle_data(candle)
    return found, {(key[0], key[1]) for key in disk.rows(tables.trades)}


def _record(type_: type[Any], row: dict[str, Any]) -> Any:
    return type_(**{name: row[name] for name in type_.__struct_fields__})


def _images(message: dict[str, Any]) -> dict[Key, Any]:
    """What a message sets; None where it leaves nothing."""
    data, market = message["data"], message["market"]
    match message["stream"]:
        case "depth":
            return _levels(market, data)
        case "orders":
            return {("order", market, str(data["order_id"])): data["order"]}
        case "balances":
            return {("balance", data["account"], data["token"]): data["balance"]}
        case "klines":
            return {("candle", market, str(data["open_time"])): data["candle"]}
        case _:
            return {}


def _levels(market: str, data: dict[str, Any]) -> dict[Key, Any]:
    return {
        ("level", market, side, level[0]): level if level[1] != "0" or level[2] else None
        for name, side in (("bids", "buy"), ("asks", "sell"))
        for level in data[name]
    }


def _channel(message: dict[str, Any]) -> str:
    stream = message["stream"]
    if message["op"] == "promote" or stream == "system":
        return str(stream)
    if stream in ("orders", "balances", "execution_reports"):
        return f"{stream}:{message['data']['account']}"
    return f"{stream}:{message['market']}"


def _name(message: dict[str, Any]) -> str:
    data = message["data"]
    names = ("order_id", "account", "token", "open_time", "kind", "event", "is_maker")
    return f"{message['market']} " + " ".join(str(data.get(field)) for field in names)


def _require(holds: bool, expected: str, found: object) -> None:
    if not holds:
        raise BadMessage(f"expected {expected}, found {str(found)[:600]}")
