"""How long readers wait while the writer indexes as fast as it can.

    make bench

Three processes on one machine, and Postgres: the API behind uvicorn, a writer that folds a long
chain into the same database, and this one, which asks the API at a steady rate over HTTP. Blocks
come by the hundred a second, so nearly no answer is a kept one. `ping` reads nothing: what it waits
is the machine's, and the baseline of the others. The bar is 50 ms at the 99th percentile.
"""

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import PIPE, Popen
from typing import Any

import aiohttp
import asyncpg

from tests.benchmarks.chains import EVENTS_A_BLOCK, chain

EVENTS = 300_000
EVERY_S, SECONDS = 0.02, 10
LISTED = "GraphQL trades"
PATHS = {"REST depth": "depth?limit=100", "REST ticker": "ticker/24hr?type=FULL"}
LIST = {"query": "{ trades(limit: 100) { price quantity takerSide maker taker tx } }"}

API = """
import asyncio, sys
from api.app import Config, build
from tidebook.serving import serve
tell = lambda port: print(port, flush=True)
asyncio.run(serve(build(Config(sys.argv[1], 1)), "127.0.0.1", 0, tell))
"""
WRITER = """
import asyncio, sys
from indexer.chain.recording import Playback, Recording
from indexer.follow import follow
from indexer.store.writer import open_store
async def main():
    recording = Recording(sys.argv[2])
    store = await open_store(sys.argv[1], recording.deployment)
    await follow(store, lambda canon, mirror: Playback(recording, canon))
    await store.close()
asyncio.run(main())
"""


@contextmanager
def running(program: str, *arguments: str) -> Iterator[Popen[str]]:
    with Popen([sys.executable, "-c", program, *arguments], stdout=PIPE, text=True) as process:
        yield process
        process.kill()


async def until_traded(connection: Any) -> str:
    """A market, once it has a book and trades."""
    query = "select '0x' || encode(market, 'hex') from tidebook.trades limit 1"
    async with asyncio.timeout(60):
        while (market := await connection.fetchval(query)) is None:
            await asyncio.sleep(0.05)
    return str(market)


async def test_answers_while_the_writer_is_at_full_speed(database_url: str) -> None:
    connection: Any = await asyncpg.connect(database_url)
    with (
        running(API, database_url) as api,
        running(WRITER, database_url, str(chain(EVENTS))) as writer,
    ):
        assert api.stdout is not None
        url = f"http://127.0.0.1:{api.stdout.readline().strip()}"
        market = await until_traded(connection)
        waited: dict[str, list[float]] = {name: [] for name in ("ping", LISTED, *PATHS)}
        count = "select coalesce(max(block_number), 0) from tidebook.cursors"
        before, begun = await connection.fetchval(count), time.monotonic()
        async with aiohttp.ClientSession(url) as http:

            async def ask(name: str) -> None:
                begin = time.perf_counter()
                if name == LISTED:
                    asked = http.post("/graphql", json=LIST)
                elif name == "ping":
                    asked = http.get("/api/v3/ping")
                else:
                    asked = http.get(f"/api/v3/{PATHS[name]}&symbol={market}")
                async with asked as response:
                    body = await response.read()
                    assert response.status == 200, body
                    assert b'"errors"' not in body
                waited[name].append((time.perf_counter() - begin) * 1000)

            await asyncio.gather(*(ask(name) for name in waited for _ in range(10)))
            for times in waited.values():
                times.clear()  # those opened the connections
            async with asyncio.TaskGroup() as asking:
                while time.monotonic() < begun + SECONDS and writer.poll() is None:
                    for name in waited:
                        asking.create_task(ask(name))
                        await asyncio.sleep(EVERY_S / len(waited))
        spent = time.monotonic() - begun
        told = (await connection.fetchval(count)) - before
    await connection.close()
    rate = told * EVENTS_A_BLOCK / spent
    print(f"\nload {os.getloadavg()[0]:.1f}; {rate:.0f} events/s indexed meanwhile")  # noqa: T201
    for name, times in waited.items():
        times.sort()
        p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
        print(f"  {name:15} {len(times)} answers: p50 {p50:.1f} ms, p99 {p99:.1f} ms")  # noqa: T201
        assert len(times) > 50
