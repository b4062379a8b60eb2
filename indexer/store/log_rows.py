"""Rows of `logs`: as records at the head, as pieces of Postgres' binary COPY in bulk.

A row for each log, and its entry in an index, cost Postgres twice what it takes to keep its bytes.
"""

import struct
import sys
from array import array
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import cache, lru_cache
from typing import Any, overload

import msgspec

import abis
from indexer.domain.block import Block
from indexer.domain.logs import WORD, Kind, Logs
from indexer.domain.units import Address
from indexer.store.database import Row

PIECES_AT_ONCE = 40
"""Blocks' rows of one message to Postgres: each message is a turn of the loop."""
MOST_KNOWN = 100_000
"""Kinds of log whose fields are remembered."""

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)  # no flags, no extension
_TRAILER = b"\xff\xff"
_COUNT = struct.Struct(">H")
_NUMBER = struct.Struct(">i")
_ARRAY = struct.Struct(">iiiii")
_NULL = b"\xff\xff\xff\xff"
_INT, _BYTEA, _TEXT = 23, 17, 25
"""What Postgres calls the types of arrays' elements."""


class LogsRow(msgspec.Struct, gc=False):
    """A block's logs as they are stored: see the table.

    A kind's name is None where no ABI knows its topic; `unknown` counts the logs of such.
    """

    block_number: int
    unknown: int
    log_index: list[int]
    of_tx: list[int]
    of_kind: list[int]
    ends: list[int]
    txs: list[str]
    address: list[str]
    topic0: list[str]
    others: list[int]
    name: list[str | None]
    words: str


COLUMNS = LogsRow.__struct_fields__


def row(logs: Logs) -> LogsRow:
    """A block's logs, which are some, as they are stored."""
    txs, names = logs.txs.hex(), [_names().get(first) for _, first, _ in logs.kinds]
    return LogsRow(
        logs.block.number,
        _unknown(logs),
        logs.index,
        logs.of_tx,
        logs.of_kind,
        logs.ends,
        ["0x" + txs[at : at + 2 * WORD] for at in range(0, len(txs), 2 * WORD)],
        [address for address, _, _ in logs.kinds],
        [first or "0x" for _, first, _ in logs.kinds],
        [others for _, _, others in logs.kinds],
        names,
        "0x" + logs.words.hex(),
    )


def logs_of(block: Block, row: Row) -> Logs:
    """What a block's row was made of; `PACKED` are the columns that it needs."""
    firsts = ("" if first == "0x" else first for first in row["topic0"])
    kinds = zip(map(Address, row["address"]), firsts, row["others"], strict=True)
    return Logs(
        block,
        row["log_index"],
        bytes.fromhex("".join(tx[2:] for tx in row["txs"])),
        row["of_tx"],
        list(kinds),
        row["of_kind"],
        bytes.fromhex(row["words"][2:]),
        row["ends"],
    )


PACKED = tuple(name for name in COLUMNS if name not in ("unknown", "name"))


def _unknown(logs: Logs) -> int:
    unknown = {at for at, (_, first, _) in enumerate(logs.kinds) if first not in _names()}
    return sum(map(unknown.__contains__, logs.of_kind)) if unknown else 0


@cache
def _names() -> dict[str, str]:
    """What ABIs call an event, by its topic0."""
    return {topic0: abi.name for topic0, abi in abis.registry().items()}


# -- binary COPY -----------------------------------------------------------------------------------


def copied(logs: Logs) -> bytes:
    """A block's logs as a row of a COPY; nothing, if there are none."""
    if not logs:
        return b""
    count = len(logs.kinds)
    addresses, firsts, names = zip(*map(_elements, logs.kinds), strict=True)
    size = _NUMBER.pack(WORD)
    txs = [size + logs.txs[at : at + WORD] for at in range(0, len(logs.txs), WORD)]
    return b"".join(
        [
            _COUNT.pack(len(COLUMNS)),
            struct.pack(">iqii", 8, logs.block.number, 4, _unknown(logs)),
            _numbers(logs.index),
            _numbers(logs.of_tx),
            _numbers(logs.of_kind),
            _numbers(logs.ends),
            _array(_BYTEA, len(txs), b"".join(txs)),
            _array(_BYTEA, count, b"".join(addresses)),
            _array(_BYTEA, count, b"".join(firsts)),
            _numbers([others for _, _, others in logs.kinds]),
            _array(_TEXT, count, b"".join(names), has_nulls=_NULL in names),
            _NUMBER.pack(len(logs.words)),
            logs.words,
        ]
    )


@lru_cache(MOST_KNOWN)
def _elements(kind: Kind) -> tuple[bytes, bytes, bytes]:
    """Its address, topic0 and name as elements of arrays."""
    address, first, _ = kind
    name = _names().get(first)
    return (
        _element(bytes.fromhex(address[2:])),
        _element(bytes.fromhex(first[2:])),
        _NULL if name is None else _element(name.encode()),
    )


def _element(value: bytes) -> bytes:
    return _NUMBER.pack(len(value)) + value


def _numbers(values: list[int]) -> bytes:
    elements = array("i", (4,)) * (2 * len(values))
    elements[1::2] = array("i", values)
    if sys.byteorder == "little":
        elements.byteswap()
    return _array(_INT, len(values), elements.tobytes())


def _array(kind: int, count: int, elements: bytes, *, has_nulls: bool = False) -> bytes:
    one_dimension = _ARRAY.pack(1, has_nulls, kind, count, 1)
    return _NUMBER.pack(len(one_dimension) + len(elements)) + one_dimension + elements


class Packed(Sequence[LogsRow]):
    """Rows of a COPY as the records they were; who can send them as they are takes `copy`."""

    def __init__(self) -> None:
        self._rows: list[bytes] = []
        self.events = 0
        """How many logs there are in them."""

    def add(self, row: bytes, events: int) -> None:
        """One more, with so many logs; none, if it is empty."""
        if row:
            self._rows.append(row)
        self.events += events

    def extend(self, later: "Packed") -> None:
        """The rows of another."""
        self._rows += later._rows
        self.events += later.events

    async def copy(self) -> AsyncIterator[bytes]:
        """A whole COPY, piece by piece."""
        yield _HEADER
        for at in range(0, len(self._rows), PIECES_AT_ONCE):
            yield b"".join(self._rows[at : at + PIECES_AT_ONCE])
        yield _TRAILER

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[LogsRow]:
        return map(_read, self._rows)

    @overload
    def __getitem__(self, at: int) -> LogsRow: ...
    @overload
    def __getitem__(self, at: slice) -> list[LogsRow]: ...
    def __getitem__(self, at: int | slice) -> LogsRow | list[LogsRow]:
        return _read(self._rows[at]) if isinstance(at, int) else list(map(_read, self._rows[at]))


def _read(row: bytes) -> LogsRow:
    fields: Any = _fields(row, _COUNT.size)
    number, unknown, *arrays, words = fields
    values: list[Any] = [int.from_bytes(number), int.from_bytes(unknown), *map(_list, arrays)]
    values.append("0x" + words.hex())
    return LogsRow(*values)


def _list(packed: bytes) -> list[Any]:
    """A one-dimensional array."""
    _, _, kind, _, _ = _ARRAY.unpack_from(packed)
    read = _READERS[kind]
    return [None if one is None else read(one) for one in _fields(packed, _ARRAY.size)]


_READERS: dict[int, Callable[[bytes], Any]] = {
    _INT: int.from_bytes,
    _BYTEA: lambda value: "0x" + value.hex(),
    _TEXT: bytes.decode,
}


def _fields(packed: bytes, at: int) -> Iterator[bytes | None]:
    while at < len(packed):
        (size,) = _NUMBER.unpack_from(packed, at)
        at += _NUMBER.size
        yield None if size < 0 else packed[at : at + size]
        at += max(size, 0)
