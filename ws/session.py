"""Pure: one client's conversation in Binance's dialect. Text in, effects out, no sockets.

Say      a text to the client       Join, Leave    a stream from now on, or no more
HangUp   close, with code and reason
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from indexer.domain.listing import Directory
from ws.allowance import Budget
from ws.channels import Channel, stream_channel
from ws.door import Guest
from ws.limits import NOT_TEXT, POLICY, Limits


@dataclass(frozen=True, slots=True)
class Say:
    text: str


@dataclass(frozen=True, slots=True)
class Join:
    stream: str
    channel: Channel


@dataclass(frozen=True, slots=True)
class Leave:
    stream: str
    channel: Channel


@dataclass(frozen=True, slots=True)
class HangUp:
    code: int
    reason: str


Effect = Say | Join | Leave | HangUp

METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
PROPERTIES = ("combined", "retractions")
MAX_ID_CHARS = 36
MAX_SHOWN_CHARS = 64
MAX_BRACKETS = 64
"""Opening brackets in a message: a parser's stack is C's, and no request needs three."""

UNKNOWN_PROPERTY, WRONG_TYPE, INVALID_REQUEST, INVALID_JSON = range(4)


class Refused(Exception):
    """A request we do not do: Binance's error code and words."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code
        self.words = words


class Session:
    """Which streams one connection has, and how it wants them wrapped."""

    def __init__(
        self, directory: Directory, limits: Limits, guest: Guest, *, combined: bool
    ) -> None:
        self._directory = directory
        self._limits = limits
        self._guest = guest
        self.combined = combined
        """Events come as `{"stream", "data"}` (`/stream`) rather than bare (`/ws`)."""
        self.retractions = False
        """Whether to be told of what is taken back, in words that are not Binance's."""
        self.streams: dict[str, Channel] = {}
        self._budget = Budget(limits.inbound_per_s, limits.inbound_bytes_per_s, "connection")

    def open(self, streams: Iterable[str]) -> list[Effect]:
        """Begin with the streams of the URL. Raises Refused if one of them is not to be had."""
        return self._subscribe(list(streams))

    def receive(self, message: str | bytes, now_s: float) -> list[Effect]:
        """Answer one message. `now_s` is the clock of all sessions: addresses share budgets."""
        for budget in (self._budget, self._guest.budget):
            if words := budget.hear(message, now_s):
                return [HangUp(POLICY, words)]
        if isinstance(message, bytes):
            return [HangUp(NOT_TEXT, "expected text frames")]
        request_id: int | str | None = None
        try:
            request = _parse(message)
            request_id = _request_id(request)
            return self._answer(request_id, request, message)
        except Refused as refused:
            # The documentation prints code and msg beside the id, the servers send them inside
            # of `error`, and clients exist for either.
            error = {"code": refused.code, "msg": refused.words}
            return [_say({"error": error, "id": request_id, **error})]

    def _answer(self, request_id: int | str | None, request: Any, text: str) -> list[Effect]:
        if "method" not in request:
            where = f"at line 1 column {len(text)}"
            raise Refused(INVALID_REQUEST, f"Invalid request: missing field `method` {where}")
        params = request.get("params") or []
        if not isinstance(params, list):
            raise Refused(INVALID_REQUEST, "Invalid request: params must be an array")
        effects: list[Effect] = []
        result: Any = None
        match request["method"]:
            case "SUBSCRIBE":
                effects = self._subscribe(_names(params))
            case "UNSUBSCRIBE":
                effects = self._unsubscribe(_names(params))
            case "LIST_SUBSCRIPTIONS":
                _at_most(0, params)
                result = list(self.streams)
            case "SET_PROPERTY":
                _property(params, 2)
                if len(params) < 2 or not isinstance(params[1], bool):
                    raise Refused(WRONG_TYPE, "Invalid value type: expected Boolean")
                setattr(self, params[0], params[1])
            case "GET_PROPERTY":
                _property(params, 1)
                result = getattr(self, params[0])
            case other:
                known = ", ".join(f"`{method}`" for method in METHODS)
                shown = other if isinstance(other, str) else msgspec.json.encode(other).decode()
                words = f"unknown variant `{_short(shown)}`, expected one of {known}"
                raise Refused(INVALID_REQUEST, f"Invalid request: {words} at line 1 column 1")
        return [*effects, _say({"result": result, "id": request_id})]

    def _subscribe(self, names: list[str]) -> list[Effect]:
        """All of them or none."""
        joins: dict[str, Effect] = {}
        for name in names:
            channel = stream_channel(self._directory, name)
            if channel is None:
                raise Refused(INVALID_REQUEST, f"Invalid request: invalid stream {_short(name)}")
            if name not in self.streams:
                joins[name] = Join(name, channel)
        guest, limits = self._guest, self._limits
        for held, most, whose in (
            (len(self.streams), limits.streams_per_connection, "connection"),
            (guest.subscriptions, limits.subscriptions_per_address, "address"),
        ):
            if held + len(joins) > most:
                words = f"too many subscriptions, at most {most} per {whose}"
                raise Refused(INVALID_REQUEST, f"Invalid request: {words}")
        guest.subscriptions += len(joins)
        for join in joins.values():
            assert isinstance(join, Join)
            self.streams[join.stream] = join.channel
        return list(joins.values())

    def _unsubscribe(self, names: list[str]) -> list[Effect]:
        held = [name for name in dict.fromkeys(names) if name in self.streams]
        self._guest.subscriptions -= len(held)
        return [Leave(name, self.streams.pop(name)) for name in held]


def _parse(text: str) -> dict[str, Any]:
    if text.count("[") + text.count("{") > MAX_BRACKETS:
        raise Refused(INVALID_JSON, f"Invalid JSON: more than {MAX_BRACKETS} brackets")
    try:
        request = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        found = re.search(r"byte (\d+)", str(error))
        column = int(found[1]) + 1 if found else 1
        words = f"Invalid JSON: expected value at line 1 column {column}"
        raise Refused(INVALID_JSON, words) from error
    if not isinstance(request, dict):
        raise Refused(INVALID_REQUEST, "Invalid request: expected an object")
    return request


def _request_id(request: dict[str, Any]) -> int | str | None:
    """A signed 64-bit integer, a text of at most 36 characters, or null; but given."""
    match request.get("id", ...):
        case None:
            return None
        case bool():
            pass
        case int(number) if -(2**63) <= number < 2**63:
            return number
        case str(text) if len(text) <= MAX_ID_CHARS:
            return text
    raise Refused(INVALID_REQUEST, "Invalid request: request ID must be an unsigned integer")


def _names(params: list[Any]) -> list[str]:
    if not params or not all(isinstance(name, str) for name in params):
        raise Refused(INVALID_REQUEST, "Invalid request: params must be stream names")
    return params


def _property(params: list[Any], most: int) -> None:
    _at_most(most, params)
    if not params or not isinstance(params[0], str):
        raise Refused(INVALID_REQUEST, "Invalid request: property name must be a string")
    if params[0] not in PROPERTIES:
        raise Refused(UNKNOWN_PROPERTY, "Unknown property")


def _at_most(most: int, params: list[Any]) -> None:
    if len(params) > most:
        raise Refused(INVALID_REQUEST, "Invalid request: too many parameters")


def _short(text: str) -> str:
    return text if len(text) <= MAX_SHOWN_CHARS else text[:MAX_SHOWN_CHARS] + "…"


def _say(answer: dict[str, Any]) -> Say:
    return Say(msgspec.json.encode(answer).decode())
