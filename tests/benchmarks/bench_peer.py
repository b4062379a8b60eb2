"""Ponder at the head: a block from the node's announcement to its rows, as bench_realtime has it.

    .venv/bin/python -m tests.benchmarks.bench_peer --blocks 40 --block-time 1
    make bench

It listens to `newHeads` by websocket. Its rows are there when a reader of its trades, who asks
every millisecond or two, sees some of the block.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import asyncpg

from tests.benchmarks import peer
from tests.benchmarks.bench_realtime import (
    BLOCK_S,
    BLOCKS,
    FIRST_BLOCK,
    PER_BLOCK,
    Times,
    mined,
    player,
    said,
)
from tidebook import embedded

POLL_S = 0.001
SCHEMA = "ponder_live"


async def _seen(connection: Any, last: int, times: Times) -> int:
    """When each block's trades were there, up to the last block or one behind it, which it is."""
    number = 0
    while number < last:
        await asyncio.sleep(POLL_S)
        newest = await connection.fetchval(f"select max(block) from {SCHEMA}.trades")
        if newest is not None and newest > number:
            number = int(newest)
            times[number] = time.time_ns()
    return number


async def measure(url: str, blocks: int, block_s: float) -> None:
    """Announce to row; says so on stdout."""
    try:
        root = await asyncio.to_thread(peer.installed, peer.VERSIONS[0])
    except peer.Absent as reason:
        sys.stdout.write(f"Ponder: not run, {reason}\n")
        return
    rows: Times = {}
    connection: Any = await asyncpg.connect(url)
    with (
        player(blocks, block_s, False) as (node, process),
        peer.running(root, node, url, SCHEMA, live=True) as (ponder, api),
    ):
        began = time.perf_counter()
        while not await asyncio.to_thread(peer.ready, api):
            assert ponder.poll() is None, "Ponder ended"
            assert time.perf_counter() - began < peer.PATIENCE_S, "Ponder is not getting there"
            await asyncio.sleep(peer.POLL_S)
        first = await _seen(connection, FIRST_BLOCK + 1, {}) + 6
        last = first + blocks
        announced, _ = await asyncio.gather(
            mined(process, last + 1), _seen(connection, last + 1, rows)
        )
    await connection.close()
    sys.stdout.write(
        f"\nPonder {peer.VERSIONS[0]} by websocket: {PER_BLOCK} events a block, {block_s:g} s; "
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n"
    )
    said("announced to row", rows, announced, range(first, last))


async def test_ponder_at_the_head(database_url: str) -> None:
    await measure(database_url, BLOCKS, BLOCK_S)


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--blocks", type=int, default=BLOCKS)
    parse.add_argument("--block-time", type=float, default=BLOCK_S)
    asked = parse.parse_args()
    with tempfile.TemporaryDirectory() as folder, embedded.servers(Path(folder)) as urls:
        asyncio.run(measure(urls.database_url, asked.blocks, asked.block_time))


if __name__ == "__main__":
    main()
