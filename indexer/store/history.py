"""The chain again, out of the database: what `verify` folds anew and the past is simulated on."""

from collections.abc import AsyncIterator, Iterable, Sequence

from indexer.decode import decode
from indexer.domain.block import Block
from indexer.domain.change import Applied
from indexer.domain.deployment import Deployment
from indexer.domain.log import Log
from indexer.domain.market import Token
from indexer.mirror.fold import Mirror
from indexer.store.database import Row
from indexer.store.log_rows import PACKED, logs_of
from indexer.store.postgres import Connection

BLOCKS_AT_ONCE = 100
"""Blocks that Postgres sends ahead."""

WholeBlock = tuple[Block, Iterable[Log]]


async def refold(
    connection: Connection, deployment: Deployment, mirror: Mirror, last: int | None = None
) -> AsyncIterator[Applied]:
    """Fold every stored block into an empty `mirror`, up to block `last` (None: to the head).

    Runs in one transaction, so the writer may go on meanwhile.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        tokens = [Token(**row) for row in await connection.fetch(_TOKENS)]
        folded = 0
        async for row in connection.cursor(_BLOCKS, last, prefetch=BLOCKS_AT_ONCE):
            yield fold(mirror, whole(row), tokens)
            folded += 1
            if folded % BLOCKS_AT_ONCE == 0:
                mirror.take_unsaved()  # nobody saves it, and it would grow with the chain


def whole(row: Row) -> WholeBlock:
    """A row of `blocks` left join `logs` (their PACKED columns)."""
    block = Block(row["number"], row["hash"], row["parent_hash"], row["timestamp"])
    return block, [] if row["words"] is None else logs_of(block, row)


def fold(mirror: Mirror, whole: WholeBlock, tokens: Sequence[Token]) -> Applied:
    """Fold one stored block."""
    block, logs = whole
    return mirror.apply(block, decode(block, logs), tokens, final=True)


_TOKENS = "select address, symbol, name, decimals from tidebook.tokens"

_BLOCKS = f"""
select b.number, b.hash, b.parent_hash, b.timestamp, {", ".join(f"l.{name}" for name in PACKED)}
  from tidebook.blocks b left join tidebook.logs l on l.block_number = b.number
 where b.canonical and b.number <= coalesce($1, b.number)
 order by b.number
"""
