"""The finalized past in bulk: logs by range, the next ranges fetched while one is written.

Ranges adapt to what the node bears: they are cut where it refuses one, and aim at so many logs as
are worth a request. Only blocks with logs are read, the last of each range, which the cursor rests
on, and the first, which links it to the range before: a range without logs names no branch, so its
ends must. What a cache on disk has (chain/log_cache.py) is not asked of the node.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

import msgspec

from indexer.chain.answers import Told
from indexer.chain.errors import BadAnswer, RpcError
from indexer.chain.headers import unlinked
from indexer.chain.log_cache import LogCache
from indexer.chain.proof import LAG_PAUSES_S
from indexer.chain.ranges import MAX_RANGE_BLOCKS
from indexer.chain.source import Source, Watch
from indexer.chain.tokens import Tokens
from indexer.domain.block import Block
from indexer.domain.logs import Logs, pack
from indexer.domain.step import Advance
from indexer.domain.units import Address

FIRST_RANGE_BLOCKS = 25
"""Few, for everybody waits for them; they tell how many the next should be."""
AIM_LOGS = 2_500
"""Logs a range should bring: enough to be worth a request, few enough to hold some in memory."""
HEADERS_AT_ONCE = 100
"""Headers in one request."""
RANGES_AHEAD = 4
"""Ranges that are fetched while one is folded and another is written."""


class Headers(Protocol):
    """Who tells headers."""

    async def by_numbers(self, numbers: Sequence[int]) -> list[Block]: ...


class Teller(Headers, Protocol):
    """One node, which tells logs and headers."""

    async def by_number(self, number: int) -> Block | None: ...

    async def logs_between(self, first: int, last: int, watch: Watch) -> Told: ...


class _Range(msgspec.Struct):
    """A range on its way. `known` are the markets that it was asked for."""

    first: int
    last: int
    known: frozenset[Address]
    task: asyncio.Task[list[Logs]]


async def backfill(
    node: Source, watch: Watch, start: Block, final: Block, cache: LogCache | None = None
) -> AsyncIterator[list[Logs]]:
    """Blocks with logs after `start` up to and with `final`, range by range, in order."""
    if cache is not None:
        await cache.open(node, start, final)
    while start.number < final.number:
        until = final.number
        if cache is not None:
            async for kept in _cached(cache, start):
                _require_linked(start, [logs.block for logs in kept], final)
                watch.markets |= watch.created(kept)
                start = kept[-1].block
                yield kept
            until = cache.gap(start, final.number)
        async for found in _fetched(node, watch, start, until):
            _require_linked(start, [logs.block for logs in found], final)
            found = [logs for logs in found if logs or logs is found[-1]]
            if cache is not None:
                await cache.keep(start, found)
            start = found[-1].block
            yield found
    if cache is not None:
        await cache.kept()


async def advances(
    node: Source, watch: Watch, tokens: Tokens, start: Block, final: Block, cache: LogCache | None
) -> AsyncIterator[list[Advance]]:
    """The same as steps, with words about the tokens of new markets."""
    async for found in backfill(node, watch, start, final, cache):
        yield [
            Advance(logs.block, logs, await tokens.of(logs.block, logs), "finalized")
            for logs in found
        ]


def _require_linked(start: Block, found: list[Block], final: Block) -> None:
    """Raise BadAnswer for blocks that are not on the branch between `start` and `final`.

    Neighbours must be linked, and the last be the one that was final: the node may have moved to
    another branch meanwhile.
    """
    blocks = [start, *found]
    torn = unlinked(blocks)
    if torn is None and blocks[-1].number == final.number and blocks[-1].hash != final.hash:
        torn = blocks[-1], final
    if torn is not None:
        expected = f"block {torn[1].ref} on the branch of {torn[0].ref}"
        raise BadAnswer("eth_getBlockByNumber", expected, "another branch")


async def _cached(cache: LogCache, start: Block) -> AsyncIterator[list[Logs]]:
    """What the cache has from `start` on; the next range is unpacked while one is used."""
    coming = asyncio.create_task(cache.read(start))
    try:
        while (found := await coming) is not None:
            coming = asyncio.create_task(cache.read(found[-1].block))
            yield found
    finally:
        await _end(coming)


async def _fetched(
    node: Source, watch: Watch, start: Block, until: int
) -> AsyncIterator[list[Logs]]:
    """What the node tells from `start` on, some ranges ahead of who uses them."""
    size, planned = FIRST_RANGE_BLOCKS, start.number
    coming: deque[_Range] = deque()
    is_first = True
    try:
        while coming or planned < until:
            # the first one teaches how long the next should be
            while planned < until and len(coming) <= (0 if is_first else RANGES_AHEAD):
                first, planned = planned + 1, min(planned + size, until)
                task = asyncio.create_task(_range(node, watch, first, planned))
                coming.append(_Range(first, planned, frozenset(watch.markets), task))
            one = coming[0]
            found = await one.task
            new = watch.markets - one.known
            if new and new - watch.created(found):
                # announced by a range before it, while this one was on its way
                one.known = frozenset(watch.markets)
                one.task = asyncio.create_task(_range(node, watch, one.first, one.last))
                continue
            coming.popleft()
            is_first = False
            size = _next_size(one.last - one.first + 1, sum(map(len, found)))
            yield found
    finally:
        await _end(*(one.task for one in coming))


def _next_size(blocks: int, logs: int) -> int:
    """How many blocks to ask for next, after so many brought so many logs."""
    wanted = blocks * AIM_LOGS // max(logs, 1)
    return max(1, min(wanted, 4 * blocks, MAX_RANGE_BLOCKS))


async def _end(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _range(node: Source, watch: Watch, first: int, last: int) -> list[Logs]:
    """One range, in pieces where the node wants it so."""
    found: list[Logs] = []
    size = last - first + 1
    while first <= last:
        until = min(first + size - 1, last)
        try:
            found += await node.blocks_between(first, until, watch)
            first = until + 1
        except RpcError:
            if size > 1:
                size = max(size // 2, 1)
                continue
            found.append(await _alone(node, watch, first))
            first += 1
    return found


async def _alone(node: Source, watch: Watch, number: int) -> Logs:
    """A block whose logs are too many for one answer, read as one at the head is."""
    block = await node.by_number(number)
    if block is None:
        raise BadAnswer("eth_getBlockByNumber", f"block {number}", "none")
    return pack(block, await node.logs_of(block, watch))


async def told_between(node: Teller, first: int, last: int, watch: Watch) -> list[Logs]:
    """A range as a node tells it while it stays on one branch.

    The last header, which names the whole branch, is asked for before the logs and behind them: no
    logs on a branch that the node has left would look like no logs on the other.
    """
    for pause_s in (*LAG_PAUSES_S, None):
        before = await node.by_number(last)
        found = await with_headers(node, await node.logs_between(first, last, watch), first, last)
        if found[-1].block == before:
            return found
        if pause_s is not None:
            await asyncio.sleep(pause_s)
    raise BadAnswer("eth_getBlockByNumber", f"block {last} as before", "another branch")


async def with_headers(node: Headers, told: Told, first: int, last: int) -> list[Logs]:
    """The logs, which are in order, by block; with the first and last, if nothing happened there.

    Raises BadAnswer for a node whose headers are not those of its logs: it must be one that told
    both, for two nodes may differ.
    """
    by_number = {int(logs[0].block_number, 16): logs for logs in told}
    del told  # each block's logs go once they are packed, while they are at hand
    for end in (first, last):
        by_number.setdefault(end, [])
    numbers = sorted(by_number)
    found: list[Block] = []
    for at in range(0, len(numbers), HEADERS_AT_ONCE):
        wanted = numbers[at : at + HEADERS_AT_ONCE]
        blocks = await node.by_numbers(wanted)
        if [block.number for block in blocks] != wanted:
            raise BadAnswer("eth_getBlockByNumber", f"blocks {wanted}", "others, or fewer")
        found += blocks
    for block in found:
        for log in by_number[block.number]:
            if log.block_hash != block.hash:
                expected = f"logs of block {block.ref}"
                raise BadAnswer("eth_getLogs", expected, f"a log of block {log.block_hash}")
    return [pack(block, by_number.pop(block.number)) for block in found]
