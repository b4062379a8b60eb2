"""A node that can fail in every way a provider can: a transport under the real `Rpc`."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import aiohttp
import msgspec

from tests.simulation.world import Mined, World

SLOW_S = 0.4
MOVES = 0.03
"""How often something happens to the chain just before it answers."""


class FaultyNode:
    """Answers from the world as it is at that moment. `calm` ends all faults."""

    def __init__(self, world: World, draw: random.Random, seen: Counter[str]) -> None:
        self._world = world
        self._draw = draw
        self._seen = seen
        self.calm = False
        self.rate = draw.choice((0.0, 0.01, 0.05))

    async def send(self, body: bytes, ids: Sequence[int]) -> bytes:
        await asyncio.sleep(self._draw.choice((0.0, 0.001, 0.01, SLOW_S if self._fails() else 0.0)))
        if not self.calm and self._draw.random() < MOVES:
            self._seen["the chain moves between two calls"] += 1
            self._world.happen()
        if self._fails():
            self._break()
        requests = msgspec.json.decode(body)
        if isinstance(requests, dict):
            text = msgspec.json.encode(self._answer(requests))
        else:
            answers = [self._answer(request) for request in requests]
            if self._fails():
                self._seen["a batch with an answer missing"] += 1
                answers.pop()
            self._draw.shuffle(answers)
            text = msgspec.json.encode(answers)
        await asyncio.sleep(self._draw.choice((0.0, 0.0, 0.002)))
        if self._fails():
            self._seen["truncated JSON"] += 1
            return text[: len(text) // 2]
        return text

    async def close(self) -> None:
        """Nothing is open."""

    def _fails(self) -> bool:
        return not self.calm and self._draw.random() < self.rate

    def _break(self) -> None:
        kind = self._draw.choice(("refused", "timeout", "busy"))
        self._seen[f"node {kind}"] += 1
        match kind:
            case "refused":
                raise aiohttp.ClientConnectionError("refused")
            case "timeout":
                raise TimeoutError
            case _:
                raise aiohttp.ClientError("HTTP 429")

    # -- answers ----------------------------------------------------------------------------------

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        method, params = request["method"], request["params"]
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
        try:
            answer["result"] = self._result(method, params)
        except LookupError as error:
            answer["error"] = {"code": -32000, "message": str(error)}
        return answer

    def _result(self, method: str, params: list[Any]) -> Any:
        match method:
            case "eth_getBlockByNumber":
                return self._header(self._by_number(params[0]))
            case "eth_getBlockByHash":
                return self._header(self._by_hash(params[0]))
            case "eth_getLogs":
                return self._logs(params[0])
            case _:
                raise LookupError(f"the method {method} does not exist")

    def _by_number(self, name: str) -> Mined | None:
        if name == "latest":
            head = self._world.head
            if self._fails() and head.parent and head.parent.block.number >= self._floor():
                self._seen["the head goes backwards"] += 1
                head = head.parent
            return head
        if name in ("finalized", "safe"):
            return self._world.final
        found = self._world.canonical(int(name, 16))
        if found is not None and self._fails():
            self._seen["block not found"] += 1
            return None
        return found

    def _floor(self) -> int:
        return self._world.final.block.number

    def _by_hash(self, hash_: str) -> Mined | None:
        mined = self._world.known.get(hash_)
        if mined is None or self._world.is_canonical(mined):
            return mined
        return mined if self._draw.random() < 0.5 else None

    def _logs(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        if "blockHash" in asked:
            mined = self._by_hash(asked["blockHash"])
            if mined is None or not self._world.is_canonical(mined):
                self._seen["logs of a block that is gone"] += 1
            if mined is None:
                if self._draw.random() < 0.5:
                    return []
                raise LookupError("unknown block")
            chosen = [mined]
        else:
            first, last = int(asked["fromBlock"], 16), int(asked["toBlock"], 16)
            if last - first > 8 and self._fails():
                self._seen["a range that is refused"] += 1
                raise LookupError("query returned more than 10000 results")
            found = [self._world.canonical(number) for number in range(first, last + 1)]
            chosen = [mined for mined in found if mined is not None]
        if "blockHash" in asked and chosen[0].logs and self._fails():
            self._seen["no logs of a block that has some"] += 1
            return []
        addresses, topics = asked.get("address"), asked.get("topics", ())
        return [
            msgspec.to_builtins(log)
            for mined in chosen
            for log in mined.logs
            if (addresses is None or log.address in addresses)
            and all(
                want is None or log.topics[at : at + 1] == [want] for at, want in enumerate(topics)
            )
        ]

    def _header(self, mined: Mined | None) -> dict[str, Any] | None:
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
