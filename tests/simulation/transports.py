"""What carries a faulty node's answers: HTTP, or the real websocket transport on a socket of ours.

Whatever a network does between asking and answering happens here; and the chain may move just
before an answer is made.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import aiohttp
import msgspec

from indexer.chain.errors import Unreachable
from indexer.chain.rpc import Busy, Transport, WebsocketTransport
from tests.simulation.node import FaultyNode, header
from tests.simulation.world import Mined

MOVES = 0.03
"""How often something happens to the chain just before a node answers."""
HANG_S = 100.0
LOST = 0.03
"""Of a socket's notices."""


class Network:
    """The ways to all nodes. `moves` is called where the chain may move."""

    def __init__(
        self,
        nodes: dict[str, FaultyNode],
        draw: random.Random,
        seen: Counter[str],
        moves: Callable[[str], None],
    ) -> None:
        self._nodes = nodes
        self._draw = draw
        self._seen = seen
        self._moves = moves

    async def connect(self, url: str) -> Transport:
        """The transport to the node behind a URL. Raises Unreachable."""
        node = self._nodes[url]
        await asyncio.sleep(self._draw.choice((0.0, 0.01)))
        if node.fails():
            self._seen["a node that cannot be reached"] += 1
            raise Unreachable(url, "connection refused")
        line = Line(node, self._draw, self._seen, self._moves)
        if not url.startswith("ws"):
            return line
        return WebsocketTransport(_Session(), Socket(line))  # type: ignore[arg-type]


class Line:
    """One connection, by POST."""

    def __init__(
        self,
        node: FaultyNode,
        draw: random.Random,
        seen: Counter[str],
        moves: Callable[[str], None],
    ) -> None:
        self.node = node
        self.draw = draw
        self.seen = seen
        self._moves = moves

    async def send(self, body: bytes, ids: Sequence[int]) -> bytes:
        await asyncio.sleep(self.draw.choice((0.0, 0.001, 0.01, 0.4 if self.node.fails() else 0.0)))
        requests = msgspec.json.decode(body)
        several = requests if isinstance(requests, list) else [requests]
        if not self.node.calm and self.draw.random() < MOVES:
            self._moves(several[0]["method"])
        if self.node.fails():
            await self._break()
        answers = [self.node.answer(request) for request in several]
        if len(answers) > 1:
            if self.node.fails():
                self.seen["a batch with an answer missing"] += 1
                answers.pop()
            self.draw.shuffle(answers)
        text = msgspec.json.encode(answers if isinstance(requests, list) else answers[0])
        await asyncio.sleep(self.draw.choice((0.0, 0.0, 0.002)))
        if self.node.fails():
            self.seen["truncated JSON"] += 1
            return text[: len(text) // 2]
        return text

    async def close(self) -> None:
        """Nothing is open."""

    async def _break(self) -> None:
        kind = self.draw.choice(("429", "5xx", "refused", "hang"))
        self.seen[f"node: {kind}"] += 1
        match kind:
            case "429":
                raise Busy("HTTP 429", self.draw.choice((0, 0, 1, 30)))
            case "5xx":
                raise Busy("HTTP 503")
            case "refused":
                raise aiohttp.ClientConnectionError("refused")
            case _:
                await asyncio.sleep(HANG_S)


class Frame:
    """What a socket delivers."""

    type = aiohttp.WSMsgType.TEXT

    def __init__(self, data: str) -> None:
        self.data = data


class Socket:
    """A websocket's client end: answers in any order, notices lost, doubled, late, or cut off."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._frames: asyncio.Queue[Frame | None] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False

    async def send_str(self, text: str) -> None:
        self._tasks = [task for task in self._tasks if not task.done()]
        self._tasks.append(asyncio.create_task(self._serve(text.encode())))

    async def _serve(self, body: bytes) -> None:
        try:
            answer = await self._line.send(body, ())
        except (Busy, aiohttp.ClientError):
            self._cut()
            return
        self._frames.put_nowait(Frame(answer.decode()))
        if b"eth_subscribe" in body and b'"error"' not in answer:
            self._line.node.sockets.append(self._tell)

    def _tell(self, new: list[Mined]) -> None:
        """Heads are announced one by one, or only the last; none: the node hangs up."""
        line = self._line
        if not new:
            self._cut()
            return
        told = new if line.draw.random() < 0.5 else new[-1:]
        for mined in told:
            if not line.node.calm and line.draw.random() < LOST:
                line.seen["a notice is lost"] += 1
                continue
            result = header(mined)
            params = {"subscription": "0x5", "result": result}
            notice = {"jsonrpc": "2.0", "method": "eth_subscription", "params": params}
            text = msgspec.json.encode(notice).decode()
            for _ in range(1 + line.node.fails()):
                self._frames.put_nowait(Frame(text))
            line.seen["a head by notice"] += 1

    def _cut(self) -> None:
        if not self._closed:
            self._closed = True
            self._frames.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[Frame]:
        while (frame := await self._frames.get()) is not None:
            yield frame

    async def close(self) -> None:
        self._closed = True
        if self._tell in self._line.node.sockets:
            self._line.node.sockets.remove(self._tell)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _Session:
    """Owns nothing."""

    async def close(self) -> Any:
        return None
