"""JSON-RPC over HTTP or websocket: requests in, raw results out, typed by the caller.

A quarter of a thousandth of web3's cost for large answers: aiohttp moves the bytes, msgspec parses
them straight into the type asked for.
"""

import asyncio
import itertools
import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from random import Random
from typing import Any, Generic, Protocol, TypeVar

import aiohttp
import msgspec

from indexer.chain.errors import BadAnswer, RpcError, Unreachable
from indexer.chain.urls import without_secrets

T = TypeVar("T")

REQUEST_TIMEOUT_S = 30.0
ATTEMPTS = 6
"""Times one request is sent before the node counts as unreachable."""
FIRST_RETRY_S = 0.1
"""Doubled after every attempt, and shortened by up to a half at random."""
MAX_RETRY_S = 10.0
MAX_RETRY_AFTER_S = 20.0
"""The longest pause a node may ask for; one that wants more counts as unreachable for so long."""
GIVE_UP_S = 60.0
"""No further attempt once a request is this old."""
MAX_ANSWER_BYTES = 256 << 20

_NULL = msgspec.Raw(b"null")  # a Raw equals no bytes, only a Raw

Call = tuple[str, Sequence[Any]]
"""A method and its parameters."""


class Patience(msgspec.Struct, frozen=True):
    """How long to bear a node that does not answer well. Seconds."""

    attempts: int = ATTEMPTS
    first_retry_s: float = FIRST_RETRY_S
    request_s: float = REQUEST_TIMEOUT_S
    give_up_s: float = GIVE_UP_S

    def pause_s(self, attempt: int, random: Random) -> float:
        """Pause before the attempt of that number (1 is the first retry)."""
        full: float = min(self.first_retry_s * 2.0 ** (attempt - 1), MAX_RETRY_S)
        return full * (1 - random.random() / 2)


PATIENCE = Patience()


class _Failure(msgspec.Struct, frozen=True):
    code: int = 0
    message: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")


class _Answer(msgspec.Struct, frozen=True):
    id: int | str | None = None
    result: msgspec.Raw = _NULL
    error: _Failure | None = None
    method: str | None = None
    params: msgspec.Raw = _NULL


class _Told(msgspec.Struct, Generic[T], frozen=True):
    """An answer whose result is of the type that was asked for, parsed with the rest in one go."""

    id: int | str | None = None
    result: T | None = None
    error: _Failure | None = None


class _Notice(msgspec.Struct, frozen=True):
    subscription: str
    result: msgspec.Raw


class Busy(Exception):
    """Worth asking again, though not before `retry_after_s`. What transports raise."""

    def __init__(self, reason: str, retry_after_s: float = 0) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


_BUSY = re.compile(
    r"rate.?limit|too many requests|request limit reached|compute units per second"
    r"|request count exceeded|throughput|capacity exceeded|no backend is currently healthy"
    r"|server (?:is )?busy|overloaded"
    r"|^internal (?:server |json-rpc )?error\.?$",
    re.IGNORECASE,
)
"""Worth asking again, said by an error in an answer that is otherwise well."""


class Transport(Protocol):
    """Carries one JSON text to the node and its answer back.

    Raises Busy, OSError or aiohttp.ClientError; may hang, for Rpc has a limit.
    """

    async def send(self, body: bytes, ids: Sequence[int]) -> bytes: ...
    async def close(self) -> None: ...


class Rpc:
    """A node's JSON-RPC. Busy and broken answers are asked again with growing pauses."""

    def __init__(
        self,
        url: str,
        transport: Transport,
        patience: Patience | None = None,
        random: Random | None = None,
    ) -> None:
        self.url = url
        self.faults: Counter[str] = Counter()
        """What went wrong so far, by kind; asked again or not."""
        self.last_fault = ""
        self._transport = transport
        self._patience = patience or PATIENCE
        self._random = random or Random()
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
        answers = await self._request(type_, calls)
        return [
            _result(type_, method, answer)
            for (method, _), answer in zip(calls, answers, strict=True)
        ]

    async def close(self) -> None:
        await self._transport.close()

    async def _request(self, type_: type[T], calls: Sequence[Call]) -> list[_Told[T] | _Answer]:
        if not calls:
            return []
        ids = [next(self._ids) for _ in calls]
        requests = [
            {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}
            for id_, (method, params) in zip(ids, calls, strict=True)
        ]
        body = msgspec.json.encode(requests if len(requests) > 1 else requests[0])
        patience, clock = self._patience, asyncio.get_running_loop().time
        began, attempt = clock(), 0
        while True:
            attempt += 1
            try:
                async with asyncio.timeout(patience.request_s):
                    text = await self._transport.send(body, ids)
                return _match(type_, ids, text)
            except (aiohttp.ClientError, OSError, Busy, msgspec.MsgspecError) as error:
                kind, reason, asked_s = _fault(error, patience)
            self.faults[kind] += 1
            self.last_fault = without_secrets(reason, self.url)
            pause_s = max(patience.pause_s(attempt, self._random), asked_s)
            if (
                attempt >= patience.attempts
                or asked_s > MAX_RETRY_AFTER_S
                or clock() - began + pause_s > patience.give_up_s
            ):
                times = "attempt" if attempt == 1 else "attempts"
                raise Unreachable(self.url, f"{reason} ({attempt} {times})", asked_s)
            await asyncio.sleep(pause_s)


def _fault(error: Exception, patience: Patience) -> tuple[str, str, float]:
    """Kind, words, and the pause that the node asked for."""
    match error:
        case Busy():
            return "busy", str(error), error.retry_after_s
        case TimeoutError():
            return "timeout", f"no answer within {patience.request_s:g} s", 0
        case msgspec.MsgspecError():
            return "garbled", f"not a JSON-RPC answer: {error}", 0
        case _:
            return "connection", f"{error}" or type(error).__name__, 0


def _retry_after_s(header: str | None) -> float:
    """What a Retry-After header asks for: seconds, or a date."""
    if header is None:
        return 0
    if header.strip().isdecimal():
        return float(header)
    try:
        return max((parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds(), 0)
    except (TypeError, ValueError):
        return 0


class HttpTransport:
    """One POST for each request, connections kept."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S),
            headers={"Content-Type": "application/json"},
        )

    async def send(self, body: bytes, ids: Sequence[int]) -> bytes:
        if self._session.closed:
            raise ConnectionResetError("we have closed the connection")
        async with self._session.post(self._url, data=body) as response:
            answer = await response.read()
            if response.status == 429 or response.status >= 500:
                after_s = _retry_after_s(response.headers.get("Retry-After"))
                raise Busy(f"HTTP {response.status}", after_s)
            if response.status in (401, 403) and not answer.startswith((b"{", b"[")):
                raise OSError(f"HTTP {response.status}: the node refuses us")
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
            return await future
        finally:
            del self._waiting[ids[0]]

    async def notice(self) -> msgspec.Raw:
        """What a subscription delivers next. Raises ConnectionResetError: the socket closed."""
        notice = await self._notices.get()
        if notice is None:
            self._notices.put_nowait(None)  # closed once, closed for ever
            raise ConnectionResetError("the node closed the websocket")
        return notice.result

    def later(self) -> msgspec.Raw | None:
        """The next one, if it has come already."""
        if self._notices.empty():
            return None
        notice = self._notices.get_nowait()
        if notice is None:
            self._notices.put_nowait(None)
            return None
        return notice.result

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


async def connect(url: str) -> Transport:
    """The transport for a URL. Raises Unreachable."""
    return await WebsocketTransport.open(url) if url.startswith("ws") else HttpTransport(url)


def _match(type_: Any, ids: Sequence[int], text: bytes) -> list[_Told[Any] | _Answer]:
    """The answers by the order of the requests; a node may shuffle a batch.

    Parsed as `type_`, unless one of them is of another shape.
    """
    decoded: Any
    try:
        decoded = _decoder(type_).decode(text)
    except msgspec.ValidationError:
        decoded = msgspec.json.decode(text, type=_Answer | list[_Answer])
    answers: list[_Told[Any] | _Answer] = decoded if isinstance(decoded, list) else [decoded]
    for answer in answers:
        error = answer.error
        if error is not None and (error.code == 429 or _BUSY.search(error.message)):
            raise Busy(f"{error.code} {error.message}")
    if len(answers) == 1 and answers[0].error is not None:
        return answers * len(ids)  # the batch as a whole was refused
    by_id = {answer.id: answer for answer in answers}
    missing = [id_ for id_ in ids if id_ not in by_id]
    if missing:
        raise Busy(f"{len(missing)} of {len(ids)} answers are missing")
    return [by_id[id_] for id_ in ids]


@cache
def _decoder(type_: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(_Told[type_] | list[_Told[type_]])


def _result(type_: type[T], method: str, answer: _Told[T] | _Answer) -> T | None:
    if answer.error is not None:
        failure = answer.error
        raise RpcError(method, failure.code, failure.message, bytes(failure.data).decode())
    if isinstance(answer, _Told):
        return answer.result
    if answer.result == _NULL:
        return None
    try:
        return msgspec.json.decode(answer.result, type=type_)
    except msgspec.MsgspecError as error:
        start = bytes(answer.result)[:80].decode(errors="replace")
        raise BadAnswer(method, f"another shape ({error})", start) from error
