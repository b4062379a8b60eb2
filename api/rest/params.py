"""Query parameters: what each may be, how it is read, and how OpenAPI tells of it."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from api.arguments import is_address
from api.limits import MAX_INTEGER, MAX_SYMBOLS
from api.rest import errors
from indexer.domain.interval import INTERVALS
from indexer.domain.units import Address

NAME = r"^[A-Za-z0-9_.\-]{1,64}$"
"""What a market's name may be made of. Symbols of other characters are asked for by address."""

_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,64}", re.ASCII)
_INTEGER = re.compile(r"[0-9]{1,20}", re.ASCII)
_TIME_ZONE = re.compile(r"([+-]?)([0-9]{1,2})(?::([0-9]{2}))?", re.ASCII)


class Multi(Protocol):
    """A query string, read: its pairs in order."""

    def multi_items(self) -> list[tuple[str, str]]: ...


class Param(msgspec.Struct, frozen=True):
    """One parameter: its reader raises Refused, its schema is JSON Schema's."""

    name: str
    read: Callable[[str, str], Any]
    schema: dict[str, Any]
    text: str
    required: bool = False
    default: Any = None


def parse(params: Sequence[Param], query: Multi) -> dict[str, Any]:
    """Every parameter's value by name; what was not sent is its default."""
    known = {param.name: param for param in params}
    sent: dict[str, str] = {}
    for name, value in query.multi_items():
        if name in sent:
            raise errors.duplicate(ascii(name)[1:-1][:40])
        sent[name] = value
    if unknown := [name for name in sent if name not in known]:
        raise errors.unread(unknown, list(known))
    values = {}
    for param in params:
        text = sent.get(param.name)
        if text or (text is not None and param.read is _anything):
            values[param.name] = param.read(param.name, text)
        elif param.required:
            raise errors.missing(param.name)
        elif text is not None:
            raise errors.empty(param.name)
        else:
            values[param.name] = param.default
    return values


# -- readers ---------------------------------------------------------------------------------------


def _integer(field: str, text: str) -> int:
    if _INTEGER.fullmatch(text) is None:
        raise errors.illegal(field, "^[0-9]{1,20}$")
    number = int(text)
    if number > MAX_INTEGER:
        raise errors.invalid(field, f"0 to {MAX_INTEGER}")
    return number


def _name(field: str, text: str) -> str:
    if _NAME.fullmatch(text) is None:
        raise errors.illegal(field, NAME)
    return text


def _names(field: str, text: str) -> list[str]:
    try:
        names = msgspec.json.decode(text, type=list[str])
    except (msgspec.MsgspecError, UnicodeError):
        raise errors.illegal(field, '["SYMBOL","SYMBOL"]') from None
    if not 1 <= len(names) <= MAX_SYMBOLS:
        raise errors.invalid(field, f"1 to {MAX_SYMBOLS} symbols")
    return [_name(field, name) for name in names]


def _address(field: str, text: str) -> Address:
    if not is_address(text):
        raise errors.illegal(field, "^0x[0-9a-fA-F]{40}$")
    return Address(text.lower())


def _interval(field: str, text: str) -> str:
    if text not in INTERVALS:
        raise errors.interval()
    return text


def _time_zone(field: str, text: str) -> int:
    """Seconds ahead of UTC, from `8`, `-1:00` or `05:45`."""
    match = _TIME_ZONE.fullmatch(text)
    expected = "-12:00 to +14:00"
    if match is None:
        raise errors.invalid(field, expected)
    minutes = int(match[2]) * 60 + int(match[3] or 0)
    signed = -minutes if match[1] == "-" else minutes
    if int(match[3] or 0) > 59 or not -12 * 60 <= signed <= 14 * 60:
        raise errors.invalid(field, expected)
    return signed * 60


def _boolean(field: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise errors.illegal(field, "true|false")
    return text == "true"


def _anything(field: str, text: str) -> str:
    return text


# -- parameters ------------------------------------------------------------------------------------


def integer(name: str, text: str, *, required: bool = False) -> Param:
    schema = {"type": "integer", "minimum": 0, "maximum": MAX_INTEGER}
    return Param(name, _integer, schema, text, required)


def limit(default: int, maximum: int) -> Param:
    """A number of rows; more than the maximum is the maximum."""

    def read(field: str, text: str) -> int:
        number = _integer(field, text)
        if number < 1:
            raise errors.invalid(field, f"1 to {maximum}")
        return min(number, maximum)

    schema = {"type": "integer", "minimum": 1, "default": default}
    return Param("limit", read, schema, f"Rows, at most {maximum}.", default=default)


def choice(name: str, choices: Sequence[str], text: str, default: str | None = None) -> Param:
    """One word of a closed set."""

    def read(field: str, value: str) -> str:
        if value not in choices:
            raise errors.invalid(field, " or ".join(choices))
        return value

    schema: dict[str, Any] = {"type": "string", "enum": list(choices)}
    return Param(name, read, schema, text, default=default)


def address(required: bool = True) -> Param:
    schema = {"type": "string", "pattern": "^0x[0-9a-fA-F]{40}$"}
    return Param("address", _address, schema, "The account.", required)


def symbol(*, required: bool = True, name: str = "symbol") -> Param:
    schema = {"type": "string", "pattern": NAME}
    return Param(name, _name, schema, "A market's symbol or address, in any case.", required)


def ignored(name: str) -> Param:
    """What clients of Binance send and a public read does not need."""
    return Param(name, _anything, {"type": "string"}, "Read by no one: accounts are public.")


def free(name: str, text: str) -> Param:
    """Text of no form; whoever uses it must not trust it."""
    return Param(name, _anything, {"type": "string"}, text, default="")


def boolean(name: str, text: str) -> Param:
    return Param(name, _boolean, {"type": "boolean"}, text, default=False)


SYMBOLS = Param(
    "symbols", _names, {"type": "string"}, 'Markets, as a JSON array: ["WETHUSDC"].', default=None
)
INTERVAL = Param(
    "interval", _interval, {"type": "string", "enum": list(INTERVALS)}, "A candle's length.", True
)
TIME_ZONE = Param(
    "timeZone",
    _time_zone,
    {"type": "string", "default": "0"},
    "Where days, weeks and months begin: -12:00 to +14:00.",
    default=0,
)
START_TIME = integer("startTime", "Unix milliseconds, inclusive.")
END_TIME = integer("endTime", "Unix milliseconds, inclusive.")
FROM_ID = integer("fromId", "A trade's number: from here on, oldest first.")
SIGNED = (ignored("timestamp"), ignored("recvWindow"), ignored("signature"))
