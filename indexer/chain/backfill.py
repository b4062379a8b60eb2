"""The finalized past in bulk: logs by range, the next range fetched while one is written.

Ranges adapt to what the node bears: they halve when it refuses one and grow again while answers
stay small. Only blocks with logs are read, and the last of each range, which the cursor rests on.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Protocol

from indexer.chain.errors import BadAnswer, RpcError
from indexer.chain.headers import unlinked
from indexer.chain.source import Source, Watch
from indexer.domain.block import Block
from indexer.domain.log import Log

FIRST_RANGE_BLOCKS = 500
MAX_RANGE_BLOCKS = 10_000
AIM_LOGS = 10_000
"""Logs a range should bring: enough to be worth a transaction, few enough to fit in memory."""
HEADERS_AT_ONCE = 100

Found = list[tuple[Block, list[Log]]]


class Headers(Protocol):
    """Who tells headers."""

    async def by_numbers(self, numbers: Sequence[int]) -> list[Block]: ...


async def backfill(node: Source, watch: Watch, start: Block, final: Block) -> AsyncIterator[Found]:
    """Blocks with logs after `start` up to and with `final`, range by range, in order."""
    fetch = asyncio.create_task(_range(node, watch, start.number + 1, FIRST_RANGE_BLOCKS, final))
    try:
        while True:
            found, last, size = await fetch
            _require_linked(start, found, final)
            start = found[-1][0]
            if last < final.number:
                fetch = asyncio.create_task(_range(node, watch, last + 1, size, final))
            yield found
            if last >= final.number:
                return
    finally:
        fetch.cancel()
        await asyncio.gather(fetch, return_exceptions=True)


def _require_linked(start: Block, found: Found, final: Block) -> None:
    """Raise BadAnswer for blocks that are not on the branch between `start` and `final`.

    Neighbours must be linked, and the last be the one that was final: the node may have moved to
    another branch meanwhile.
    """
    blocks = [start, *(block for block, _ in found)]
    torn = unlinked(blocks)
    if torn is None and blocks[-1].number == final.number and blocks[-1].hash != final.hash:
        torn = blocks[-1], final
    if torn is not None:
        expected = f"block {torn[1].ref} on the branch of {torn[0].ref}"
        raise BadAnswer("eth_getBlockByNumber", expected, "another branch")


async def _range(
    node: Source, watch: Watch, first: int, size: int, final: Block
) -> tuple[Found, int, int]:
    """One range from `first` on: what was found, its last block, and the size to try next."""
    while True:
        last = min(first + size - 1, final.number)
        try:
            found = await node.blocks_between(first, last, watch)
            break
        except RpcError:
            if size == 1:
                raise
            size = max(size // 2, 1)
    logs = sum(len(its_logs) for _, its_logs in found)
    if logs < AIM_LOGS:
        size = min(size * 2, MAX_RANGE_BLOCKS)
    elif logs > 2 * AIM_LOGS:
        size = max(size // 2, 1)
    return found, last, size


async def with_headers(node: Headers, logs: list[Log], last: int) -> Found:
    """The logs, which are in order, by block; and the last block, though nothing happened there.

    Raises BadAnswer for a node whose headers are not those of its logs: it must be one that told
    both, for two nodes may differ.
    """
    groups = [(key, list(its_logs)) for key, its_logs in groupby(logs, _BLOCK)]
    by_number = {int(number, 16): its_logs for (number, _), its_logs in groups}
    by_number.setdefault(last, [])
    numbers = sorted(by_number)
    found: Found = []
    for at in range(0, len(numbers), HEADERS_AT_ONCE):
        wanted = numbers[at : at + HEADERS_AT_ONCE]
        blocks = await node.by_numbers(wanted)
        if [block.number for block in blocks] != wanted:
            raise BadAnswer("eth_getBlockByNumber", f"blocks {wanted}", "others, or fewer")
        found += [(block, by_number[block.number]) for block in blocks]
    true = {block.number: block for block, _ in found}
    for (number, hash_), _ in groups:
        block = true[int(number, 16)]
        if hash_ != block.hash:
            raise BadAnswer("eth_getLogs", f"logs of block {block.ref}", f"a log of block {hash_}")
    return found


_BLOCK = attrgetter("block_number", "block_hash")
