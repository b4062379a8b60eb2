"""Callers' text to our values, and the same said as JSON schema. What does not fit is BadInput."""

import re
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from analytics.errors import BadInput
from analytics.limits import DEFAULT_ROWS, MAX_INTEGER, MAX_ROWS, MAX_TEXT_CHARS
from indexer.domain.units import Address

_ADDRESS = re.compile(r"0[xX][0-9a-fA-F]{40}", re.ASCII)
_CURSOR = re.compile(r"([0-9]{1,15})-([0-9]{1,9})", re.ASCII)
_INTEGER = re.compile(r"[0-9]{1,80}", re.ASCII)
_DECIMAL = re.compile(r"[0-9]{1,60}(\.[0-9]{1,60})?", re.ASCII)

Read = Callable[[str, str], Any]


class Parameter(msgspec.Struct, frozen=True):
    """One argument of an endpoint: its name, its meaning, and how its text is read."""

    name: str
    about: str
    schema: dict[str, Any]
    read: Read
    default: Any = None
    where: Literal["path", "query"] = "query"
    required: bool = False


def _address(field: str, text: str) -> Address:
    if _ADDRESS.fullmatch(text) is None:
        raise BadInput(field, "an address (0x and 40 hex digits)", text)
    return Address(text.lower())


def _text(field: str, text: str) -> str:
    if not 0 < len(text) <= MAX_TEXT_CHARS or not text.isprintable():
        raise BadInput(field, f"1 to {MAX_TEXT_CHARS} printable characters", text)
    return text


def _cursor(field: str, text: str) -> tuple[int, int]:
    match = _CURSOR.fullmatch(text)
    if match is None:
        raise BadInput(field, "the `next` of an earlier page", text)
    return int(match[1]), int(match[2])


def _decimal(field: str, text: str) -> str:
    if _DECIMAL.fullmatch(text) is None or not text.strip("0."):
        raise BadInput(field, "a positive decimal number such as 1.5", text)
    return text


def to_units(field: str, text: str, decimals: int) -> int:
    """The integer of a decimal text, exactly; BadInput if it has more places than the token."""
    whole, _, fraction = text.partition(".")
    if len(fraction.rstrip("0")) > decimals:
        raise BadInput(field, f"at most {decimals} decimal places", text)
    return int(whole + fraction[:decimals].ljust(decimals, "0"))


def integer(low: int, high: int) -> Read:
    def read(field: str, text: str) -> int:
        if _INTEGER.fullmatch(text) is None or not low <= int(text) <= high:
            raise BadInput(field, f"an integer from {low} to {high}", text)
        return int(text)

    return read


def choice(*values: str) -> Read:
    def read(field: str, text: str) -> str:
        if text not in values:
            raise BadInput(field, f"one of {', '.join(values)}", text)
        return text

    return read


def _flag(field: str, text: str) -> bool:
    return bool(choice("true", "false")(field, text) == "true")


def one_of(name: str, about: str, default: str | None, *values: str) -> Parameter:
    """A closed choice, required where it has no default."""
    schema: dict[str, Any] = {"type": "string", "enum": list(values)}
    if default is not None:
        schema["default"] = default
    return Parameter(name, about, schema, choice(*values), default, required=default is None)


def number(name: str, about: str, low: int, high: int, default: int | None) -> Parameter:
    """An integer in a range."""
    schema: dict[str, Any] = {"type": "integer", "minimum": low, "maximum": high}
    if default is not None:
        schema["default"] = default
    return Parameter(name, about, schema, integer(low, high), default)


def in_path(one: Parameter) -> Parameter:
    """The same parameter as a part of the path."""
    return msgspec.structs.replace(one, where="path", required=True, default=None)


ADDRESS = Parameter(
    "address",
    "An account, in any case.",
    {"type": "string", "pattern": "^0[xX][0-9a-fA-F]{40}$"},
    _address,
    where="path",
    required=True,
)
_SYMBOL = {"type": "string", "minLength": 1, "maxLength": MAX_TEXT_CHARS}
SYMBOL_PATH = Parameter(
    "symbol", "A market, such as WETH-USDC.", _SYMBOL, _text, where="path", required=True
)
SYMBOL = Parameter("symbol", "A market, such as WETH-USDC.", _SYMBOL, _text, required=True)
ANY_SYMBOL = Parameter("symbol", "A market; without, all of them.", _SYMBOL, _text)
QUOTE = Parameter(
    "quote",
    "Token to value in, by symbol or address; without, the oldest market's quote token.",
    _SYMBOL,
    _text,
)
QUANTITY = Parameter(
    "quantity",
    "In whole base tokens, as decimal text.",
    {"type": "string", "pattern": r"^[0-9]{1,60}(\.[0-9]{1,60})?$"},
    _decimal,
    required=True,
)
BLOCK = number("block", "A past block; without, the newest.", 0, MAX_INTEGER, None)
FINALITY = one_of(
    "finality", "How sure the block must be.", "latest", "latest", "safe", "finalized"
)
FORMAT = one_of("format", "`csv` gives the rows alone.", "json", "json", "csv")
EXPLAIN = Parameter(
    "explain",
    "Also the fills, lots and marks behind each figure.",
    {"type": "boolean", "default": False},
    _flag,
    False,
)
METHOD = one_of("method", "Which lots a disposal closes.", "fifo", "fifo", "lifo", "hifo", "wac")
MARK = one_of(
    "mark",
    "Valuation: mid, last trade, or what the book would pay for the whole quantity.",
    "mid",
    "mid",
    "last",
    "executable",
)
LIMIT = number("limit", "Rows of a page.", 1, MAX_ROWS, DEFAULT_ROWS)
AFTER = Parameter(
    "after",
    "The `next` of the page before.",
    {"type": "string", "pattern": "^[0-9]{1,15}-[0-9]{1,9}$"},
    _cursor,
)
PERIOD = one_of(
    "period", "How far back from the block's time.", "24h", "1h", "24h", "7d", "30d", "all"
)
PERIODS: dict[str, int | None] = {
    "1h": 3600,
    "24h": 86_400,
    "7d": 7 * 86_400,
    "30d": 30 * 86_400,
    "all": None,
}
"""Seconds."""
INTERVAL = one_of("interval", "Between two points.", "hour", "block", "hour", "day")
INTERVALS = {"block": 0, "hour": 3600, "day": 86_400}
"""Seconds; 0 is every block."""
STATUS = one_of(
    "status",
    "`open` are those with something left in the book.",
    "all",
    "all",
    "open",
)
