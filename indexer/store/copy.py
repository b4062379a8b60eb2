"""Rows for COPY: Postgres' text format, which parses numbers in C.

Each table gets one generated f-string that writes a record's line; a record is any object with the
table's column names as attributes. Text format takes a third of binary COPY's time for NUMERIC.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from functools import cache
from itertools import islice
from typing import Any

from sqlalchemy import JSON, Column, Table

from indexer.store.columns import Hex

CHUNK_ROWS = 500
"""Rows of one message to Postgres: some 300 KB of events."""

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def escape(value: str) -> str:
    """Text from outside, safe in a COPY line. Postgres has no NUL character: it becomes U+FFFD."""
    return value.translate(_ESCAPES).replace("\x00", "\ufffd")


def lines(table: Table, records: Iterable[object]) -> bytes:
    """COPY input for `records`, one line each, columns in the table's order."""
    return "".join(_writer(table)(records)).encode()


async def chunks(table: Table, records: Iterable[object]) -> AsyncIterator[bytes]:
    """The same piece by piece: Postgres works on one while the next is written."""
    rest = iter(records)
    while some := list(islice(rest, CHUNK_ROWS)):
        yield lines(table, some)


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
    value = f"r.{column.name}"
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
