"""The chain again, out of the database: what `verify` folds anew and the past is simulated on."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

from indexer.decode import decode
from indexer.domain.block import Block
from indexer.domain.change import Applied
from indexer.domain.deployment import Deployment
from indexer.domain.log import Log
from indexer.domain.market import Token
from indexer.domain.units import Address, Hash
from indexer.mirror.fold import Mirror
from indexer.store.postgres import Connection


class Row(Protocol):
    """A row by column names: asyncpg's own, or a SQLAlchemy mapping."""

    def __getitem__(self, name: str, /) -> Any: ...


WholeBlock = tuple[Block, list[Log]]

WORD = 64
"""Hex digits of a topic."""


async def refold(
    connection: Connection, deployment: Deployment, mirror: Mirror, last: int | None = None
) -> AsyncIterator[Applied]:
    """Fold every stored block into an empty `mirror`, up to block `last` (None: to the head).

    Runs in one transaction, so the writer may go on meanwhile.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        tokens = [Token(**row) for row in await connection.fetch(_TOKENS)]
        blocks = Blocks()
        async for row in connection.cursor(_LOGS, last, prefetch=5_000):
            whole = blocks.add(row)
            if whole is not None:
                yield fold(mirror, whole, tokens)
        if blocks.pending is not None:
            yield fold(mirror, (blocks.pending, blocks.logs), tokens)


def fold(mirror: Mirror, whole: WholeBlock, tokens: Sequence[Token]) -> Applied:
    """Fold one stored block."""
    block, logs = whole
    return mirror.apply(block, decode(block, logs), tokens, final=True)


class Blocks:
    """Rows of blocks left join events, in the chain's order, put together to whole blocks."""

    def __init__(self) -> None:
        self.pending: Block | None = None
        """The block whose logs are still coming."""
        self.logs: list[Log] = []

    def add(self, row: Row) -> WholeBlock | None:
        """Take one row; the block before it, if this row begins another."""
        block = Block(row["number"], row["hash"], row["parent_hash"], row["timestamp"])
        whole = None
        if block != self.pending:
            if self.pending is not None:
                whole = self.pending, self.logs
            self.pending, self.logs = block, []
        if row["log_index"] is not None:
            self.logs.append(log_of(block, row["log_index"], row))
        return whole


def log_of(block: Block, index: int, row: Row) -> Log:
    """A row of `events` as the log it was."""
    packed = row["topics"][2:]
    topics = ["0x" + packed[at : at + WORD] for at in range(0, len(packed), WORD)]
    return Log(
        Address(row["address"]),
        topics,
        row["data"],
        block.hash,
        hex(block.number),
        Hash(row["tx"]),
        hex(index),
    )


_TOKENS = "select address, symbol, name, decimals from tidebook.tokens"

_LOGS = """
select b.number, b.hash, b.parent_hash, b.timestamp,
       e.log_index, e.tx, e.address, e.topics, e.data
  from tidebook.blocks b left join tidebook.events e on e.block_number = b.number
 where b.canonical and b.number <= coalesce($1, b.number)
 order by b.number, e.log_index
"""
