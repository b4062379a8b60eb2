"""JSON-RPC over HTTP or websocket: requests in, raw results out, typed by the caller.

A quarter of a thousandth of web3's cost for large answers: aiohttp moves the bytes, msgspec parses
them straight into the type asked for.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol, TypeVar

import aiohttp
import msgspec

from indexer.chain.errors import BadAnswer, RpcError, Unreachable

T = TypeVar("T")

REQUEST_TIMEOUT_S = 30.0
ATTEMPTS = 6
"""Times one request is sent before the node counts as unreachable."""
FIRST_RETRY_S = 0.1
"""Doubled after every attempt."""
MAX_ANSWER_BYTES = 256 << 20

_NULL = msgspec.Raw(b"null")  # a Raw equals no bytes, only a Raw

Call = tuple[str, Sequence[Any]]
"""A method and its parameters."""


class _Failure(msgspec.Struct, frozen=True):
    code: int = 0
    message: str = ""


class _Answer(msgspec.Struct, frozen=True):
    id: int | str | None = None
    result: msgspec.Raw = _NULL
    error: _Failure | None = None
    method: str | None = None
    params: msgspec.Raw = _NULL


class _Notice(msgspec.Struct, frozen=True):
    subscription: str
    result: msgspec.Raw


class _Busy(Exception):
    """Worth asking again."""


class Transport(Protocol):
    """Carries one JSON text to the node and its answer back."""

    async def send(self, body: bytes, ids: Sequence[int]) -> bytes: ...
    async def close(self) -> None: ...


class Rpc:
    """A node's JSON-RPC. Busy and broken answers are asked again with growing pauses."""

    def __init__(self, url: str, transport: Transport) -> None:
        self.url = url
        self._transport = transport
        self._ids = itertools.count(1)

    async def call(self, type_: type[T], method: str, *params: Any) -> T:
        """One request that must have a result. Raises RpcError, BadAnswer, Unreachable."""
        (answer,) = await self.batch(type_, [(method, params)])
        return answer

    async def find(self, type_: type[T], method: str, *params: Any) -> T | None:
        """One request whose result may be null."""
        (answer,) = await self.find_all(type_, [(method, params)])
        return answer

    async def batch(self, type_: type[T], calls: Sequence[Call]) -> list[T]:
        """Several requests in one; the results in the order of the calls."""
        results = []
        for (method, _), result in zip(calls, await self.find_all(type_, calls), strict=True):
            if result is None:
                raise BadAnswer(method, "a result", "null")
            results.append(result)
        return results

    async def find_all(self, type_: type[T], calls: Sequence[Call]) -> list[T | None]:
        """Several requests in one, whose results may be null."""
        answers = await self._request(calls)
        return [
            _result(type_, method, answer)
            for (method, _), answer in zip(calls, answers, strict=True)
        ]

    async def close(self) -> None:
        await self._transport.close()

    async def _request(self, calls: Sequence[Call]) -> list[_Answer]:
        if not calls:
            return []
        ids = [next(self._ids) for _ in calls]
        requests = [
            {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}
            for id_, (method, params) in zip(ids, calls, strict=True)
        ]
        body = msgspec.json.encode(requests if len(requests) > 1 else requests[0])
        reason, pause_s = "", FIRST_RETRY_S
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(pause_s)
                pause_s *= 2
            try:
                return _match(ids, await self._transport.send(body, ids))
            except (aiohttp.ClientError, OSError, TimeoutError, _Busy) as error:
                reason = f"{error}" or type(error).__name__
            except msgspec.MsgspecError as error:
                reason = f"not a JSON-RPC answer: {error}"
        raise Unreachable(self.url, f"{reason} ({ATTEMPTS} attempts)")


class HttpTransport:
    """One POST for each request, connections kept."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S),
            headers={"Content-Type": "application/json"},
        )

    async def send(self, body: bytes, ids: Sequence[int]) -> bytes:
        async with self._session.post(self._url, data=body) as response:
            answer = await response.read()
            if response.status == 429 or response.status >= 500:
                raise _Busy(f"HTTP {response.status}")
            return answer

    async def close(self) -> None:
        await self._session.close()


class WebsocketTransport:
    """All requests over one socket; `notices` are what the node sends unasked."""

    def __init__(self, session: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse):
        self._session = session
        self._socket = socket
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._notices: asyncio.Queue[_Notice | None] = asyncio.Queue()
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, url: str) -> "WebsocketTransport":
        session = aiohttp.ClientSession()
        try:
            socket = await session.ws_connect(url, max_msg_size=MAX_ANSWER_BYTES, heartbeat=20.0)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            await session.close()
            raise Unreachable(url, str(error)) from error
        return cls(session, socket)

    async def send(self, body: bytes, ids: Sequence[int]) -> bytes:
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[ids[0]] = future
        try:
            if self._reader.done():
                raise ConnectionResetError("the node closed the websocket")
            await self._socket.send_str(body.decode())
            return await asyncio.wait_for(future, REQUEST_TIMEOUT_S)
        finally:
            del self._waiting[ids[0]]

    async def notices(self) -> AsyncIterator[msgspec.Raw]:
        """What subscriptions deliver, until the socket closes (then ConnectionResetError)."""
        while (notice := await self._notices.get()) is not None:
            yield notice.result
        raise ConnectionResetError("the node closed the websocket")

    async def close(self) -> None:
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self._socket.close()
        await self._session.close()

    async def _read(self) -> None:
        try:
            async for frame in self._socket:
                if frame.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    text = frame.data if isinstance(frame.data, bytes) else frame.data.encode()
                    self._deliver(text)
        finally:
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(ConnectionResetError("the node closed the websocket"))
            self._notices.put_nowait(None)

    def _deliver(self, text: bytes) -> None:
        first = msgspec.json.decode(text, type=_Answer | list[_Answer])
        answers = first if isinstance(first, list) else [first]
        if answers[0].method is not None:
            self._notices.put_nowait(msgspec.json.decode(answers[0].params, type=_Notice))
            return
        for answer in answers:  # whichever of a batch comes first names the batch
            future = self._waiting.get(int(answer.id or 0))
            if future is not None and not future.done():
                future.set_result(text)
                return


def _match(ids: Sequence[int], text: bytes) -> list[_Answer]:
    """The answers by the order of the requests; a node may shuffle a batch."""
    decoded = msgspec.json.decode(text, type=_Answer | list[_Answer])
    answers = decoded if isinstance(decoded, list) else [decoded]
    if len(answers) == 1 and answers[0].error is not None:
        return answers * len(ids)  # the batch as a whole was refused
    by_id = {answer.id: answer for answer in answers}
    missing = [id_ for id_ in ids if id_ not in by_id]
    if missing:
        raise _Busy(f"{len(missing)} of {len(ids)} answers are missing")
    return [by_id[id_] for id_ in ids]


def _result(type_: type[T], method: str, answer: _Answer) -> T | None:
    if answer.error is not None:
        raise RpcError(method, answer.error.code, answer.error.message)
    if answer.result == _NULL:
        return None
    try:
        return msgspec.json.decode(answer.result, type=type_)
    except msgspec.MsgspecError as error:
        start = bytes(answer.result)[:80].decode(errors="replace")
        raise BadAnswer(method, f"another shape ({error})", start) from error
