"""One node's heads as they come: announced over a websocket, or asked for again and again."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

import msgspec

from indexer.chain.errors import BadAnswer, Unreachable
from indexer.chain.headers import Header, Headers
from indexer.chain.rpc import Rpc, WebsocketTransport
from indexer.domain.block import Block

POLL_S = 0.25
"""Pause between questions for a new head, where the node cannot tell by itself."""
SILENCE_S = 15.0
"""After so long without a new head the node is asked for it, and it is told again."""
BACKWARDS_ASKS = 3
"""Times a head below the last one, on the same branch, is asked for again before it is believed.

Behind one URL there may be many nodes, of which some are late.
"""


class Heads:
    """`head` asks the node for its head; what is told is held against `headers`."""

    def __init__(self, rpc: Rpc, headers: Headers, head: Callable[[], Awaitable[Block]]) -> None:
        self._rpc = rpc
        self._headers = headers
        self._head = head

    async def polled(self) -> AsyncGenerator[Block, None]:
        """The head, and whenever it has changed or stood still for SILENCE_S."""
        head = await self._head()
        while True:
            yield head
            head = await self._next(head)

    async def announced(self, socket: WebsocketTransport) -> AsyncGenerator[Block, None]:
        """The head, and whenever the node tells of another or has been silent for SILENCE_S."""
        yield await self._head()
        await self._rpc.call(str, "eth_subscribe", "newHeads")
        yield await self._head()  # what came while we subscribed
        while True:
            try:
                async with asyncio.timeout(SILENCE_S):
                    notice = await socket.notice()
                head = await self._heard(notice)
                while (later := socket.later()) is not None:  # mined faster than written
                    head = await self._heard(later)
            except TimeoutError:
                head = await self._head()
            except ConnectionResetError as error:
                raise Unreachable(self._rpc.url, str(error)) from error
            yield head

    async def _heard(self, notice: msgspec.Raw) -> Block:
        """The head of an announcement."""
        header = _read(notice)
        if self._headers.judges(header):  # announcements may leave fields out
            return await self._head()
        return self._headers.learn("newHeads", header)

    async def _next(self, told: Block) -> Block:
        behind, clock = 0, asyncio.get_running_loop().time
        since = clock()
        while True:
            await asyncio.sleep(POLL_S)
            newest = await self._head()
            if newest.hash == told.hash:
                if clock() - since >= SILENCE_S:
                    return newest
                behind = 0
            elif self._headers.descends(told, newest) and behind < BACKWARDS_ASKS:
                behind += 1
            else:
                return newest


def _read(notice: msgspec.Raw) -> Header:
    try:
        return msgspec.json.decode(notice, type=Header)
    except (msgspec.MsgspecError, ValueError) as error:
        start = bytes(notice)[:80].decode(errors="replace")
        raise BadAnswer("newHeads", f"a header ({error})", start) from error
