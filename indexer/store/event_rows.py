"""Rows of `events`: as records at the head, packed as Postgres' binary COPY in bulk.

Raw logs are most of what a backfill writes, and hex is twice as long as what it stands for: packed,
they cost Postgres and the sockets half. The digits are turned to bytes where the log is read.
"""

import itertools
import struct
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import cache
from typing import overload

import msgspec

import abis
from indexer.decode import MalformedLog
from indexer.domain.block import Block
from indexer.domain.log import Log
from indexer.domain.units import Address, Hash

COLUMNS = ("block_number", "log_index", "tx", "address", "name", "topics", "data")
PIECES_AT_ONCE = 10
"""Blocks' rows of one message to Postgres."""
MOST_KNOWN = 100_000
"""Addresses whose bytes are remembered."""

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)  # no flags, no extension
_TRAILER = b"\xff\xff"
_START = struct.Struct(">hiqii")
_LENGTH = struct.Struct(">i")
_NULL = _LENGTH.pack(-1)
_known: dict[Address, bytes] = {}


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
    """The rows of one block's logs. Raises MalformedLog for text that is not hex."""
    names, number = _packed_names(), block.number
    parts: list[bytes] = []
    tx, tx_field = Hash(""), b""
    for log in logs:
        try:
            if log.transaction_hash != tx:
                tx = log.transaction_hash
                tx_field = _field(bytes.fromhex(tx[2:]))
            topics = "".join(log.topics).replace("0x", "")
            words = bytes.fromhex(topics + log.data[2:])
            size = len(topics) // 2
            parts += (
                _START.pack(7, 8, number, 4, int(log.log_index, 16)),
                tx_field,
                _known.get(log.address) or _learn(log.address),
                names.get(log.topics[0], _NULL) if topics else _NULL,
                _LENGTH.pack(size),
                words[:size],
                _LENGTH.pack(len(words) - size),
                words[size:],
            )
        except (ValueError, struct.error) as error:
            raise MalformedLog(log, block, "fields of hex digits", str(error)) from error
    return b"".join(parts)


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


def _field(value: bytes) -> bytes:
    return _LENGTH.pack(len(value)) + value


def _learn(address: Address) -> bytes:
    if len(_known) >= MOST_KNOWN:
        _known.clear()
    field = _known[address] = _field(bytes.fromhex(address[2:]))
    return field


def _hex(value: bytes | None) -> str:
    assert value is not None, "null"
    return "0x" + value.hex()


@cache
def _names() -> dict[str, str]:
    """What ABIs call an event, by its topic0."""
    return {topic0: abi.name for topic0, abi in abis.registry().items()}


@cache
def _packed_names() -> dict[str, bytes]:
    return {topic0: _field(name.encode()) for topic0, name in _names().items()}
