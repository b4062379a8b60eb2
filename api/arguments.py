"""Callers' text to our values. Whatever does not fit raises BadInput with the field's name."""

import re
from typing import NamedTuple

from api.errors import BadInput
from api.limits import MAX_INTEGER, MAX_ROWS, MAX_TEXT_CHARS
from indexer.domain.units import Address

_ADDRESS = re.compile(r"0[xX][0-9a-fA-F]{40}", re.ASCII)
_CURSOR = re.compile(r"([0-9]{1,15})-([0-9]{1,9})", re.ASCII)


class Cursor(NamedTuple):
    """Where a page ended: the origin of its last row. To callers an opaque text."""

    block_number: int
    log_index: int

    def __str__(self) -> str:
        return f"{self.block_number}-{self.log_index}"


def is_address(text: str) -> bool:
    return _ADDRESS.fullmatch(text) is not None


def address(field: str, text: str) -> Address:
    """An address in any case, in ours: lower."""
    if not is_address(text):
        raise BadInput(field, "an address (0x and 40 hex digits)", text)
    return Address(text.lower())


def symbol(field: str, text: str) -> str:
    """A symbol as people write it: `WETH-USDC`, `weth-usdc`, `WETHUSDC`."""
    if not 0 < len(text) <= MAX_TEXT_CHARS or not text.isprintable():
        expected = f"a symbol such as WETH-USDC (1 to {MAX_TEXT_CHARS} printable characters)"
        raise BadInput(field, expected, text)
    return text


def rows(field: str, number: int) -> int:
    """A page size."""
    if not 1 <= number <= MAX_ROWS:
        raise BadInput(field, f"1 to {MAX_ROWS}", number)
    return number


def cursor(field: str, text: str | None) -> Cursor | None:
    """A `cursor` of an earlier page."""
    if text is None:
        return None
    match = _CURSOR.fullmatch(text)
    if match is None:
        raise BadInput(field, "the `cursor` of a row that this list returned", text)
    return Cursor(int(match[1]), int(match[2]))


def number(field: str, text: str | None) -> int | None:
    """A `cursor` of an earlier page that is a number."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BadInput(field, "the `cursor` of a row that this list returned", text)
    return int(text)


def time(field: str, seconds: int | None) -> int | None:
    """A time in unix seconds."""
    if seconds is not None and not 0 <= seconds <= MAX_INTEGER:
        raise BadInput(field, f"unix seconds from 0 to {MAX_INTEGER}", seconds)
    return seconds
