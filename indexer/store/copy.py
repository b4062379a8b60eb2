"""Rows for COPY: Postgres' text format, which parses numbers in C.

Text format takes a third of binary COPY's time for NUMERIC. Rows of numbers, hashes and words of
our own are written as JSON, in C, whose marks are then taken off: half the price of an f-string for
each row, which is how rows with other text are written. Either is generated for its table; a
record is any object with the table's columns as attributes.
"""

import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any

import msgspec

from indexer.store.shape import Column, Table

CHUNK_BYTES = 1 << 19
"""Of one message to Postgres, if not of one row: each message is a turn of the loop."""
RENDERED_ROWS = 500
"""Rows that are rendered at once: what is at work should fit into the processor's caches."""

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def escape(value: str) -> str:
    """Text from outside, safe in a COPY line. Postgres has no NUL character: it becomes U+FFFD."""
    return value.translate(_ESCAPES).replace("\x00", "\ufffd")


def lines(table: Table, records: Sequence[object]) -> bytes:
    """COPY input for `records`, one line each, columns in the table's order."""
    return _writer(table)(records)


async def chunks(table: Table, records: Sequence[object]) -> AsyncIterator[bytes]:
    """The same piece by piece: Postgres works on one while the next is written."""
    waiting: list[bytes] = []
    size = 0
    for piece in records.pieces if isinstance(records, Lines) else _pieces(table, records):
        waiting.append(piece)
        size += len(piece)
        if size >= CHUNK_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


def _pieces(table: Table, records: Sequence[object]) -> Iterator[bytes]:
    write = _writer(table)
    for at in range(0, len(records), RENDERED_ROWS):
        yield write(records[at : at + RENDERED_ROWS])


class Lines(Sequence[Any]):
    """Rows rendered for COPY while they were at hand; they read as the records they were."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.pieces: list[bytes] = []
        self._rows = 0
        self._write = _writer(table)

    def add(self, records: Sequence[object]) -> None:
        if len(records) > RENDERED_ROWS:
            self.pieces += _pieces(self.table, records)
        elif records:
            self.pieces.append(self._write(records))
        self._rows += len(records)

    def extend(self, later: "Lines") -> None:
        self.pieces += later.pieces
        self._rows += len(later)

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[Any]:
        text = b"".join(self.pieces).decode()
        return (_record(self.table, line) for line in text.split("\n")[:-1])

    def __getitem__(self, at: Any) -> Any:
        return list(self)[at]


@cache
def columns(table: Table) -> tuple[str, ...]:
    """The columns that COPY writes: all but those Postgres fills itself."""
    return tuple(column.name for column in table.columns.values() if column.is_written)


_Writer = Callable[[Sequence[object]], bytes]


@cache
def _writer(table: Table) -> _Writer:
    """All rows in one loop: a call for each would cost a fifth more."""
    written = [table.columns[name] for name in columns(table)]
    return _by_json(written) if all(map(_is_plain, written)) else _by_f_string(written)


_PLAIN = ("bytea", "numeric", "bigint", "integer", "smallint", "boolean")


def _is_plain(column: Column) -> bool:
    """Whether its values have nothing that JSON or COPY would escape."""
    return column.type in _PLAIN or column.content == "words"


def _by_json(written: Sequence[Column]) -> _Writer:
    """A line of JSON is a line of COPY but for its marks: `[1,"\\\\x0f","buy"]`."""
    values = ", ".join(map(_value_of, written))
    scope: dict[str, Any] = {
        "NULL": msgspec.Raw(b"\\N"),
        "encode": msgspec.json.Encoder().encode_lines,
        "tabs": bytes.maketrans(b",", b"\t"),
        "marks": b'[]"',
    }
    source = f"encode([({values},) for r in records]).translate(tabs, marks)"
    exec(f"def write(records): return {source}", scope)
    write: _Writer = scope["write"]
    return write


def _value_of(column: Column) -> str:
    """Source of one value. A bytea's backslash, which COPY wants escaped, JSON escapes."""
    value = f"r.{column.attribute}"
    source = f"f'\\\\x{{{value}[2:]}}'" if column.type == "bytea" else value
    return f"NULL if {value} is None else {source}" if column.nullable else source


def _by_f_string(written: Sequence[Column]) -> _Writer:
    fields = "\\t".join(map(_field, written))
    scope: dict[str, Any] = {"escape": escape, "NULL": "\\N", "BYTES": _BYTES}
    exec(f"def write(records): return ''.join([f'{fields}\\n' for r in records]).encode()", scope)
    write: _Writer = scope["write"]
    return write


_BYTES = "\\\\x"
"""A bytea's own backslash, escaped for COPY."""


def _field(column: Column) -> str:
    """Source of one field of the f-string (whose expressions may hold no backslash)."""
    value = f"r.{column.attribute}"
    if column.nullable:
        source = value
        if column.type == "bytea":
            source = f"BYTES + {value}[2:]"
        elif _is_escaped(column):
            source = f"escape({value})"
        return f"{{NULL if {value} is None else {source}}}"
    if column.type == "bytea":
        return _BYTES.replace("\\", "\\\\") + f"{{{value}[2:]}}"
    if _is_escaped(column):
        return f"{{escape({value})}}"
    return f"{{{value}}}"


def _is_escaped(column: Column) -> bool:
    return column.type == "jsonb" or column.content == "free text"


def _record(table: Table, line: str) -> SimpleNamespace:
    """What a line was rendered from."""
    texts = line.split("\t")
    values = zip(map(table.columns.__getitem__, columns(table)), texts, strict=True)
    return SimpleNamespace(**{column.attribute: _value(column, text) for column, text in values})


def _value(column: Column, text: str) -> object:
    match column.type:
        case _ if column.nullable and text == "\\N":
            return None
        case "bytea":
            return "0x" + text[3:]
        case "numeric" | "bigint" | "integer" | "smallint":
            return int(text)
        case "boolean":
            return text.lower() == "true"
        case _:
            return _ESCAPED.sub(lambda found: _UNESCAPED.get(found[1], found[1]), text)


_ESCAPED = re.compile(r"\\(.)")
_UNESCAPED = {"t": "\t", "n": "\n", "r": "\r"}
