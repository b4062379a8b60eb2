"""A provider that can fail and lie in every way there is: what it answers, from what it believes.

It follows the world late, may be cut off from it for a while (and then mines a branch of its own),
and knows only blocks that it has seen. transports.py carries its answers, or does not.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from indexer.domain.units import Address
from tests.simulation.exchange import CHAIN_ID
from tests.simulation.world import Mined, World

REFUSALS = (
    "query returned more than 10000 results",
    "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range "
    "and no limit on the response size. Based on your parameters, this block range should work: "
    "[{first}, {half}]",
    "query returned more than 10000 results. Try with this block range [{first}, {half}].",
    "eth_getLogs is limited to a 4 block range",
    "exceed maximum block range: 4",
    "block range is too wide",
)
"""As the big providers say that a range is too long."""


@dataclass
class Habits:
    """What this run's chain is like, whoever serves it."""

    tags: bool = True
    """Nodes know `finalized` and `safe`."""
    confirmations: int = 64
    receipts: bool = True
    longest_range: int = 1_000_000


class FaultyNode:
    """`calm` ends all faults. `notice` is told whenever the head moves."""

    def __init__(
        self, name: str, world: World, draw: random.Random, seen: Counter[str], habits: Habits
    ) -> None:
        self.name = name
        self.calm = False
        self.rate = draw.choice((0.0, 0.0, 0.01, 0.04, 0.12))
        self._twists = draw.choice((0.0, 0.0, 0.02, 0.25))
        """How often it twists a block's logs."""
        self.strange = False
        """Follows another chain."""
        self.insists = False
        """Keeps logs back, whatever it is asked."""
        self.head, self.final, self.safe = world.head, world.final, world.safe
        self.sockets: list[Callable[[list[Mined]], None]] = []
        """Told of new heads; of none, when it hangs up."""
        self._known: dict[str, Mined] = {}
        self._cut_off = False
        self._world = world
        self._draw = draw
        self._seen = seen
        self._habits = habits
        self._lag = draw.choice((0.0, 0.0, 0.05, 0.6, 3.0))
        self._see(world.head)

    def fails(self) -> bool:
        return not self.calm and self._draw.random() < self.rate

    # -- what it believes -------------------------------------------------------------------------

    def hear(self, later: Callable[[float, Callable[[], None]], object]) -> None:
        """The world has moved; this node learns of it now or `later`."""
        if self._lag and not self.calm:
            later(self._draw.random() * self._lag, self.catch_up)
        else:
            self.catch_up()

    def catch_up(self) -> None:
        """Believe what the world does."""
        if self._cut_off and not self.calm:
            return
        self.final, self.safe = self._world.final, self._world.safe
        self._follow(self._world.head)

    def cut_off(self) -> None:
        self._cut_off = True

    def hang_up(self) -> None:
        for tell in list(self.sockets):
            self._seen["a websocket is cut off"] += 1
            tell([])

    def join(self) -> None:
        self._cut_off = False
        self.catch_up()

    def stray(self) -> None:
        """Cut off, it mines a branch of its own."""
        if self._cut_off:
            back = self.head.at(self.head.number - self._draw.choice((0, 0, 1, 2)))
            if back is not None and back.descends_from(self.final):
                self._seen["a provider on a branch of its own"] += 1
                self._follow(self._world.grown(back, self._draw.choice((1, 2, 3))))

    def _follow(self, head: Mined) -> None:
        before, self.head = self.head, head
        if head is before:
            return
        new = [one for one in (*head.line[1:], head) if one is not before.at(one.number)]
        self._see(head)
        for tell in list(self.sockets):
            tell(new or [head])

    def _see(self, head: Mined) -> None:
        for one in (head, *reversed(head.line)):
            if one.block.hash in self._known:
                return
            self._known[one.block.hash] = one

    def _has(self, mined: Mined) -> bool:
        return self.head.at(mined.number) is mined

    # -- what it answers --------------------------------------------------------------------------

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        method, params = request["method"], request["params"]
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
        try:
            answer["result"] = self._result(method, params)
        except LookupError as error:
            code, message = error.args if len(error.args) == 2 else (-32000, error.args[0])
            answer["error"] = {"code": code, "message": message}
        return answer

    def _result(self, method: str, params: list[Any]) -> Any:
        if self.fails() and self._draw.random() < 0.2:
            self._seen["an error in place of an answer"] += 1
            raise LookupError(-32603, "Internal error")
        if self.insists and method in ("eth_getLogs", "eth_getBlockReceipts"):
            asked = params[0]
            if method == "eth_getBlockReceipts" or "blockHash" in asked:
                self._seen["a node that insists on no logs"] += 1
                return []
        match method:
            case "eth_chainId":
                if self.strange:
                    self._seen["another chain's id"] += 1
                return hex(CHAIN_ID + self.strange)
            case "eth_getBlockByNumber":
                return header(self._by_number(params[0]))
            case "eth_getBlockByHash":
                return header(self._by_hash(params[0]))
            case "eth_getLogs":
                return self._logs(params[0])
            case "eth_getBlockReceipts" if self._habits.receipts:
                mined = self._by_hash(params[0])
                return None if mined is None else [{"logs": [_json(log) for log in mined.logs]}]
            case "eth_call":
                return self._call(*params)
            case "eth_subscribe":
                return "0x5"
            case _:
                raise LookupError(-32601, f"the method {method} does not exist")

    def _by_number(self, name: str) -> Mined | None:
        if name == "latest":
            if self.head.line and self.fails():
                self._seen["the head goes backwards"] += 1
                return self.head.line[-min(len(self.head.line), self._draw.choice((1, 1, 2, 5)))]
            return self.head
        if name in ("finalized", "safe"):
            if not self._habits.tags:
                raise LookupError(-32602, "invalid argument 0: hex string without 0x prefix")
            tagged = self.final if name == "finalized" else self.safe
            if tagged.line and self.fails():
                self._seen["the finalized tag goes backwards"] += 1
                return self._draw.choice((tagged.line[-1], tagged.line[0]))
            return tagged
        found = self.head.at(int(name, 16))
        if found is not None and self.fails():
            self._seen["block not found"] += 1
            return None
        return found

    def _by_hash(self, hash_: str) -> Mined | None:
        mined = self._known.get(hash_)
        if mined is None:
            return None
        if mined is self.head and self.fails():
            self._seen["the head it has just announced is not found"] += 1
            return None
        return mined if self._has(mined) or self._draw.random() < 0.5 else None

    # -- logs -------------------------------------------------------------------------------------

    def _logs(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        if "blockHash" in asked:
            logs = self._logs_at(asked["blockHash"])
        else:
            logs = self._logs_between(int(asked["fromBlock"], 16), int(asked["toBlock"], 16))
        addresses, topics = asked.get("address"), asked.get("topics", ())
        return [
            _json(log)
            for log in logs
            if (addresses is None or log.address in addresses)
            and all(
                want is None or log.topics[at : at + 1] == [want] for at, want in enumerate(topics)
            )
        ]

    def _logs_at(self, hash_: str) -> list[Any]:
        mined = self._by_hash(hash_)
        if mined is None or not self._has(mined):
            self._seen["logs of a block that is gone"] += 1
        if mined is None:
            if self._draw.random() < 0.5:
                return []
            raise LookupError("unknown block")
        logs = list(mined.logs)
        if not logs or self.calm or self._draw.random() >= self._twists:
            return logs
        match self._draw.choice(("none", "one less", "twice", "another's", "removed")):
            case "none":
                self._seen["no logs of a block that has some"] += 1
                return []
            case "one less":  # of several logs of one contract, no bloom misses a single one
                self._seen["the logs of a contract are left out"] += 1
                silent = self._draw.choice(logs).address
                return [log for log in logs if log.address != silent]
            case "twice":
                self._seen["logs told twice"] += 1
                logs += logs[: self._draw.randint(1, len(logs))]
            case "another's":
                return self._others(mined)
            case _:
                self._seen["a log marked as removed"] += 1
                logs[-1] = msgspec.structs.replace(logs[-1], removed=True)
        return logs

    def _others(self, mined: Mined) -> list[Any]:
        """The hash is looked up by its number, on a branch that is gone."""
        same = [one for one in self._known.values() if one.number == mined.number]
        other = next((one for one in same if one is not mined), mined)
        if other is not mined:
            self._seen["logs of another branch"] += 1
        return list(other.logs)

    def _logs_between(self, first: int, last: int) -> list[Any]:
        longest = self._habits.longest_range
        if last - first >= longest or (last > first and self.fails()):
            self._seen["a range that is refused"] += 1
            half = first + max((last - first) // 2, 0)
            words = self._draw.choice(REFUSALS).format(first=hex(first), half=hex(half))
            raise LookupError(-32005, words)
        return [log for one in self._between(first, last) for log in one.logs]

    def _between(self, first: int, last: int) -> list[Mined]:
        found = (self.head.at(number) for number in range(first, last + 1))
        return [one for one in found if one is not None]

    # -- tokens -----------------------------------------------------------------------------------

    def _call(self, call: dict[str, str], block: Any) -> str:
        """Symbol, name or decimals of a token, as they are at a block."""
        mined = self._by_hash(block["blockHash"]) if isinstance(block, dict) else self.head
        if mined is None:
            raise LookupError("header not found")
        words = mined.state.tokens.get(Address(call["to"]))
        if words is None:
            return "0x"
        symbol, decimals = words
        if call["data"] == "0x313ce567":
            return f"0x{decimals:064x}"
        text = symbol.encode()
        return "0x" + f"{32:064x}{len(text):064x}" + text.ljust(32, b"\0").hex()


def header(mined: Mined | None) -> dict[str, Any] | None:
    """A block as eth_getBlockBy… writes it."""
    if mined is None:
        return None
    block = mined.block
    return {
        "number": hex(block.number),
        "hash": block.hash,
        "parentHash": block.parent_hash,
        "timestamp": hex(block.timestamp),
        "logsBloom": f"0x{mined.bloom:0512x}",
    }


def _json(log: Any) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(log)
    return found
