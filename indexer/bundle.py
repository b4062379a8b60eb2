"""Messages as the outbox keeps them: a row for all that follow each other about one block.

A row a message took seven times the disk, and a seventh more of Postgres for each block at the
head: the messages of a block are much alike. Which channels a row tells something stays outside,
and where each of them stands behind it.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import msgspec
from backports import zstd

from indexer.wire import Numbered, Op

MOST_BYTES = 1_000_000
"""Text of a bundle, unless a single message has more."""
_LEVEL = 1


class Bundle(msgspec.Struct, frozen=True, gc=False):
    """Messages that follow each other, all with the same `op` about the same block."""

    seq: int
    """The newest one's."""
    first_seq: int
    block_number: int
    op: Op
    channels: list[str]
    """Which they belong to, each once."""
    newest: list[int]
    """Of each channel the newest one's seq."""
    messages: str
    """`0x` and hex: zstd of a line for each, with its channel, its seq and its JSON."""


class Line(NamedTuple):
    """One message of a bundle."""

    channel: str
    seq: int
    message: bytes
    """JSON."""


def bundles(messages: Sequence[Numbered]) -> Iterator[Bundle]:
    """Messages in order of their seq as rows of the outbox."""
    for _, alike in groupby(messages, lambda one: (one.block_number, one.op)):
        held: list[Numbered] = []
        size = 0
        for one in alike:
            if held and size + len(one.message) > MOST_BYTES:
                yield _bundle(held)
                held, size = [], 0
            held.append(one)
            size += len(one.message)
        yield _bundle(held)


def _bundle(held: list[Numbered]) -> Bundle:
    first, last = held[0], held[-1]
    newest = {one.channel: one.seq for one in held}
    text = b"\n".join([b"%b %d %b" % (one.channel.encode(), one.seq, one.message) for one in held])
    return Bundle(
        last.seq,
        first.seq,
        last.block_number,
        last.op,
        list(newest),
        list(newest.values()),
        "0x" + zstd.compress(text, level=_LEVEL).hex(),
    )


def text(messages: str) -> bytes:
    """The lines of a bundle."""
    return zstd.decompress(bytes.fromhex(messages[2:]))


def lines(messages: str, channels: Collection[str] | None = None) -> list[Line]:
    """The messages of a bundle; only those of some channels, if these are named."""
    ours = b"" if channels is None else tuple(f"{channel} ".encode() for channel in channels)
    return [_line(line) for line in text(messages).split(b"\n") if line.startswith(ours)]


def _line(line: bytes) -> Line:
    channel, seq, message = line.split(b" ", 2)
    return Line(channel.decode(), int(seq), message)
