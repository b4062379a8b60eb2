"""From a mined block to the message about it, on a whole `tidebook up` under load.

    .venv/bin/python -m tests.benchmarks.bench_live [listeners [blocks]]

The clock starts when the devnet says `newHeads` and stops when a client of `/v1` has the block's
change of a book; both are heard by this process. Hops are the gateway's own, from its `/metrics`.
"""

import asyncio
import json
import os
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
from websockets.asyncio.client import connect

from tests.story.market import Market

LISTENERS = 200
BLOCKS = 60
MOST_MS = (30.0, 100.0)
"""The bar: p50 and p99."""
SYMBOL = "WETH-USDC"


class Heard:
    """When each block was mined, and when each message about it came."""

    def __init__(self) -> None:
        self.mined: dict[str, float] = {}
        self.told: list[tuple[str, float]] = []

    def delays_ms(self) -> list[float]:
        return [(at - self.mined[block]) * 1000 for block, at in self.told if block in self.mined]


async def hear_heads(market: Market, heard: Heard) -> None:
    async with connect(market.node.replace("http", "ws"), max_size=None) as node:
        await node.send('{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}')
        async for text in node:
            at, frame = time.perf_counter(), json.loads(text)
            if "params" in frame:
                heard.mined[frame["params"]["result"]["hash"]] = at


async def listen(market: Market, heard: Heard | None) -> None:
    async with connect(f"ws://127.0.0.1:{market.ws_port}/v1", max_size=None) as client:
        data = {"channel": f"depth:{SYMBOL}"}
        await client.send(json.dumps({"type": "subscribe", "data": data}))
        async for text in client:
            at = time.perf_counter()
            if heard is not None and '"op":"apply"' in str(text):
                heard.told.append((json.loads(text)["data"]["block"]["hash"], at))


async def hops_ms(market: Market) -> dict[str, float]:
    """The mean of each hop."""
    url = f"http://127.0.0.1:{market.ws_port}/metrics"
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        text = await response.text()
    found: dict[str, dict[str, float]] = {"sum": {}, "count": {}}
    for what, hop, value in re.findall(r'hop_seconds_(sum|count){hop="(\w+)"} (\S+)', text):
        found[what][hop] = float(value)
    return {hop: total / found["count"][hop] * 1000 for hop, total in found["sum"].items()}


async def measure(listeners: int, blocks: int) -> tuple[list[float], dict[str, float]]:
    with tempfile.TemporaryDirectory() as place:
        market, heard = Market(Path(place)), Heard()
        await market.start("--block-time", "1", "--rate", "10")
        tasks = [asyncio.create_task(hear_heads(market, heard))]
        tasks += [asyncio.create_task(listen(market, None)) for _ in range(listeners - 1)]
        tasks.append(asyncio.create_task(listen(market, heard)))
        try:
            async with asyncio.timeout(blocks * 3):
                while len(heard.delays_ms()) < blocks:
                    await asyncio.sleep(0.5)
            return heard.delays_ms(), await hops_ms(market)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await market.stop()


def test_a_block_is_told_in_time() -> None:
    numbers = [int(one) for one in sys.argv[1:] if one.isdigit()]
    listeners, blocks = [*numbers, *(LISTENERS, BLOCKS)[len(numbers) :]]
    delays, hops = asyncio.run(measure(listeners, blocks))
    cut = statistics.quantiles(delays, n=100)
    print(f"\n{len(delays)} blocks to {listeners} listeners, load {os.getloadavg()[0]:.1f}")  # noqa: T201
    print(f"mined to received: p50 {cut[49]:.1f} ms, p99 {cut[98]:.1f} ms")  # noqa: T201
    print("hops, mean ms:", {hop: round(mean, 1) for hop, mean in hops.items()})  # noqa: T201


if __name__ == "__main__":
    test_a_block_is_told_in_time()
