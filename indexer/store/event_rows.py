"""Rows of `events`: as records at the head, packed as Postgres' binary COPY in bulk.

Raw logs are most of what a backfill writes, and hex is twice as long as what it stands for: packed,
they cost Postgres and the sockets half. The digits are turned to bytes where the log is read.
"""

import itertools
import struct
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import cache, lru_cache
from typing import overload

import msgspec

import abis
from indexer.decode import MalformedLog
from indexer.domain.block import Block
from indexer.domain.log import Log
from indexer.domain.units import Address

COLUMNS = ("block_number", "log_index", "tx", "address", "name", "topics", "data")
PIECES_AT_ONCE = 10
"""Blocks' rows of one message to Postgres."""
MOST_KNOWN = 100_000
"""Kinds of log whose like fields are remembered."""

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)  # no flags, no extension
_TRAILER = b"\xff\xff"
_LENGTH = struct.Struct(">i")
_NULL = "ffffffff"
_known: dict[tuple[Address, str, int], str] = {}


class EventRow(msgspec.Struct, gc=False):
    """A log as it is stored; `name` is None where no ABI knows its topic."""

    block_number: int
    log_index: int
    tx: str
    address: str
    name: str | None
    topics: str
    data: str


def event_row(number: int, log: Log) -> EventRow:
    topics = log.topics
    return EventRow(
        number,
        log.index,
        log.transaction_hash,
        log.address,
        _names().get(topics[0]) if topics else None,
        "0x" + "".join(topics).replace("0x", ""),  # hex has no other x
        log.data,
    )


def pack(block: Block, logs: Sequence[Log]) -> bytes:
    """The rows of one block's logs. Raises MalformedLog for text that is not hex.

    Written as hex, lengths and all, and turned to bytes at once.
    """
    start, word = f"{len(COLUMNS):04x}{8:08x}{block.number:016x}{4:08x}", _hex32(32)
    rows = []
    for log in logs:
        topics, tx, data = log.topics, log.transaction_hash, log.data
        index = int(log.log_index, 16)
        words = "".join(topics).replace("0x", "")  # hex has no other x
        if len(words) != 64 * len(topics) or len(tx) != 66 or len(data) % 2 or index >= 1 << 31:
            raise MalformedLog(log, block, "whole words of hex digits", f"{words}, {tx}, {data}")
        what = log.address, topics[0] if topics else "", len(topics)
        rows.append(
            f"{start}{_hex32(index)}{word}{tx[2:]}{_known.get(what) or _learn(what)}{words}"
            f"{_hex32(len(data) // 2 - 1)}{data[2:]}"
        )
    packed = _bytes("".join(rows))
    if packed is None:
        at = next(at for at, row in enumerate(rows) if _bytes(row) is None)
        raise MalformedLog(logs[at], block, "hex digits", f"others in {rows[at][48:]}")
    return packed


@lru_cache(4096)
def _hex32(number: int) -> str:
    return f"{number:08x}"


def _bytes(text: str) -> bytes | None:
    """What the digits stand for; None if there is anything else, blanks included."""
    try:
        found = bytes.fromhex(text)
    except ValueError:
        return None
    return found if 2 * len(found) == len(text) else None


class Packed(Sequence[EventRow]):
    """Packed rows as the records they were; who can send them as they are takes `copy`."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._rows = 0

    def add(self, rows: bytes, count: int) -> None:
        """So many more rows."""
        self._pieces.append(rows)
        self._rows += count

    def clear(self) -> None:
        self._pieces, self._rows = [], 0

    def extend(self, later: "Packed") -> None:
        """The rows of another."""
        self._pieces += later._pieces
        self._rows += later._rows

    async def copy(self) -> AsyncIterator[bytes]:
        """A whole COPY, piece by piece."""
        yield _HEADER
        for at in range(0, len(self._pieces), PIECES_AT_ONCE):
            yield b"".join(self._pieces[at : at + PIECES_AT_ONCE])
        yield _TRAILER

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[EventRow]:
        return itertools.chain.from_iterable(map(_unpacked, self._pieces))

    @overload
    def __getitem__(self, at: int) -> EventRow: ...
    @overload
    def __getitem__(self, at: slice) -> list[EventRow]: ...
    def __getitem__(self, at: int | slice) -> EventRow | list[EventRow]:
        return list(self)[at]


def _unpacked(rows: bytes) -> Iterator[EventRow]:
    at = 0
    while at < len(rows):
        at += 2  # how many fields there are
        fields: list[bytes | None] = []
        for _ in COLUMNS:
            (size,) = _LENGTH.unpack_from(rows, at)
            at += 4
            fields.append(None if size < 0 else rows[at : at + size])
            at += max(size, 0)
        number, index, tx, address, name, topics, data = fields
        yield EventRow(
            int.from_bytes(number or b""),
            int.from_bytes(index or b""),
            _hex(tx),
            _hex(address),
            None if name is None else name.decode(),
            _hex(topics),
            _hex(data),
        )


def _learn(what: tuple[Address, str, int]) -> str:
    """The fields that are alike in all logs of one event of one contract, and where words begin."""
    address, topic0, topics = what
    if len(_known) >= MOST_KNOWN:
        _known.clear()
    name = _names().get(topic0)
    named = _NULL if name is None else f"{len(name):08x}{name.encode().hex()}"
    _known[what] = f"{len(address) // 2 - 1:08x}{address[2:]}{named}{32 * topics:08x}"
    return _known[what]


def _hex(value: bytes | None) -> str:
    assert value is not None, "null"
    return "0x" + value.hex()


@cache
def _names() -> dict[str, str]:
    """What ABIs call an event, by its topic0."""
    return {topic0: abi.name for topic0, abi in abis.registry().items()}
