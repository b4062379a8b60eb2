"""Rows for COPY: Postgres' text format, which parses numbers in C.

Each table gets one generated f-string that writes a record's line; a record is any object with the
table's columns as attributes. Text format takes a third of binary COPY's time for NUMERIC.
"""

import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from types import SimpleNamespace
from typing import Any

from sqlalchemy import JSON, Boolean, Column, Integer, Table

from indexer.store.columns import Hex, Units, attribute

CHUNK_ROWS = 2_500
"""Rows of one message to Postgres, half a megabyte at most: each message is a turn of the loop."""

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def escape(value: str) -> str:
    """Text from outside, safe in a COPY line. Postgres has no NUL character: it becomes U+FFFD."""
    return value.translate(_ESCAPES).replace("\x00", "\ufffd")


def lines(table: Table, records: Iterable[object]) -> bytes:
    """COPY input for `records`, one line each, columns in the table's order."""
    return "".join(rendered(table, records)).encode()


async def chunks(table: Table, records: Iterable[object]) -> AsyncIterator[bytes]:
    """The same piece by piece: Postgres works on one while the next is written."""
    if isinstance(records, Lines):
        for at in range(0, len(records), CHUNK_ROWS):
            yield "".join(records.lines[at : at + CHUNK_ROWS]).encode()
        return
    rest = iter(records)
    while some := list(islice(rest, CHUNK_ROWS)):
        yield lines(table, some)


class Lines(Sequence[Any]):
    """Rows rendered for COPY while they were at hand; they read as the records they were."""

    def __init__(self, table: Table, lines: Iterable[str] = ()) -> None:
        self.table = table
        self.lines = list(lines)

    def add(self, records: Iterable[object]) -> None:
        self.lines += rendered(self.table, records)

    def __len__(self) -> int:
        return len(self.lines)

    def __iter__(self) -> Iterator[Any]:
        return (_record(self.table, line) for line in self.lines)

    def __getitem__(self, at: Any) -> Any:
        return list(self)[at]


def rendered(table: Table, records: Iterable[object]) -> list[str]:
    """A line for each record."""
    return _writer(table)(records)


@cache
def columns(table: Table) -> tuple[str, ...]:
    """The columns that COPY writes: all but those Postgres fills itself."""
    return tuple(c.name for c in table.columns if c.server_default is None and c.identity is None)


@cache
def _writer(table: Table) -> Callable[[Iterable[object]], list[str]]:
    """One f-string in one loop: a call for each row would cost a fifth more."""
    fields = "\\t".join(_field(table.columns[name]) for name in columns(table))
    scope: dict[str, Any] = {"escape": escape, "NULL": "\\N", "BYTES": _BYTES}
    exec(f"def write(records): return [f'{fields}\\n' for r in records]", scope)
    write: Callable[[Iterable[object]], list[str]] = scope["write"]
    return write


_BYTES = "\\\\x"
"""A bytea's own backslash, escaped for COPY."""


def _field(column: Column[Any]) -> str:
    """Source of one field of the f-string (whose expressions may hold no backslash)."""
    value = f"r.{attribute(column)}"
    if column.nullable:
        source = value
        if isinstance(column.type, Hex):
            source = f"BYTES + {value}[2:]"
        elif isinstance(column.type, JSON) or "escape" in column.info:
            source = f"escape({value})"
        return f"{{NULL if {value} is None else {source}}}"
    if isinstance(column.type, Hex):
        return _BYTES.replace("\\", "\\\\") + f"{{{value}[2:]}}"
    if isinstance(column.type, JSON) or "escape" in column.info:
        return f"{{escape({value})}}"
    return f"{{{value}}}"


def _record(table: Table, line: str) -> SimpleNamespace:
    """What a line was rendered from."""
    texts = line.removesuffix("\n").split("\t")
    values = zip(map(table.columns.__getitem__, columns(table)), texts, strict=True)
    return SimpleNamespace(**{attribute(column): _value(column, text) for column, text in values})


def _value(column: Column[Any], text: str) -> object:
    match column.type:
        case _ if column.nullable and text == "\\N":
            return None
        case Hex():
            return "0x" + text[3:]
        case Units() | Integer():
            return int(text)
        case Boolean():
            return text == "True"
        case _:
            return _ESCAPED.sub(lambda found: _UNESCAPED.get(found[1], found[1]), text)


_ESCAPED = re.compile(r"\\(.)")
_UNESCAPED = {"t": "\t", "n": "\n", "r": "\r"}
