"""A block from the node's announcement to its row and to its message, hop by hop.

    .venv/bin/python -m tests.benchmarks.bench_realtime             # announced over a websocket
    .venv/bin/python -m tests.benchmarks.bench_realtime --polling   # asked for
    .venv/bin/python -m tests.benchmarks.bench_realtime --burst     # faster than it is written
    .venv/bin/python -m tests.benchmarks.bench_realtime --hops      # where the time goes
    make bench

The player announces a block of 200 events now and then. `tidebook index` and `tidebook relay` run
in processes of their own on an embedded Postgres and Valkey. A row is committed when Postgres tells
a listener so, a message is there when a reader of the streams has the last one of its block. A
burst is mined as fast as the player can: its blocks must share transactions and keep their order.
`--hops` has the writer in this process, its waits under a clock and its CPU under cProfile.
"""

import argparse
import asyncio
import contextlib
import cProfile
import os
import pstats
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import redis.asyncio as redis

from indexer.chain.heads import POLL_S
from indexer.chain.providers import Providers
from indexer.chain.steps import Follower
from indexer.follow import follow
from indexer.store.writer import open_store
from indexer.wire import STREAMS, stream_key
from tests.benchmarks.bench_backfill import until
from tests.benchmarks.chains import DEPLOYMENT
from tests.benchmarks.player import playing
from tests.benchmarks.processes import tree_cpu_s
from tidebook import embedded

EVENTS, PER_BLOCK = 40_000, 200
FIRST_BLOCK = 60
BLOCKS, BLOCK_S = 60, 0.5
POLLED_BLOCKS = 24
BURST_BLOCKS, BURST_BLOCK_S = 120, 0.001
MOST_MS = 1_000
"""Above it something is broken, whatever else runs on the machine."""

Times = dict[int, int]
"""When, in nanoseconds, by block."""


@contextlib.contextmanager
def player(blocks: int, block_s: float, socket: bool, *more: str) -> Iterator[tuple[str, Any]]:
    """A node that begins to mine, and its lines."""
    options = ["--per-block", str(PER_BLOCK), "--head", str(FIRST_BLOCK), *more]
    with playing(EVENTS, *options, "--block-time", str(block_s)) as (url, process):
        yield (url.replace("http", "ws") if socket else url), process


async def mined(process: subprocess.Popen[bytes], last: int) -> Times:
    """When each block was announced, up to the last."""
    assert process.stdout is not None
    times: Times = {}
    while last not in times:
        said = msgspec.json.decode(await asyncio.to_thread(process.stdout.readline))
        times[said["mined"]] = said["ns"]
    return times


async def committed(url: str, last: int, times: Times) -> None:
    """When Postgres told of each block's commit; of several, that of all."""
    connection: Any = await asyncpg.connect(url)
    told: asyncio.Queue[int] = asyncio.Queue()
    await connection.add_listener("tidebook_outbox", lambda *_: told.put_nowait(time.time_ns()))
    while last not in times:
        ns = await told.get()
        number = await connection.fetchval("select block_number from tidebook.cursors")
        for one in range(max(times, default=number or 0), (number or 0) + 1):
            times.setdefault(one, ns)
    await connection.close()


async def delivered(url: str, last: int, times: Times) -> None:
    """When the last message of each block was read from the streams."""
    client: redis.Redis = redis.from_url(url, protocol=2, socket_timeout=60)
    position: Any = {stream_key(DEPLOYMENT.chain_id, stream): "0-0" for stream in STREAMS}
    while last + 1 not in times:
        read: Any = await client.xread(position, block=5_000)
        ns = time.time_ns()
        for stream, entries in read:
            position[stream.decode()] = entries[-1][0]
            for _, fields in entries:
                message = msgspec.json.decode(fields[b"m"])
                if message["op"] == "apply":
                    times[message["block"]["number"]] = ns
    await client.aclose()


def said(name: str, after: Times, before: Times, blocks: range) -> list[float]:
    """Milliseconds between two hops."""
    found = sorted((after[n] - before[n]) / 1e6 for n in blocks if n in after and n in before)
    at = [found[int(len(found) * share)] for share in (0.5, 0.95, 0.99)]
    sys.stdout.write(
        f"  {name}: p50 {at[0]:.1f}, p95 {at[1]:.1f}, p99 {at[2]:.1f} ms ({len(found)} blocks)\n"
    )
    return at


class Services:
    """`tidebook index` and `tidebook relay`, each a process."""

    def __init__(self, urls: embedded.Urls, node: str, folder: str) -> None:
        self._environment = {
            **os.environ,
            "TIDEBOOK_DATABASE_URL": urls.database_url,
            "TIDEBOOK_REDIS_URL": urls.redis_url,
        }
        file = Path(folder) / "deployment.json"
        file.write_bytes(msgspec.json.encode(DEPLOYMENT))
        options = ("--rpc", node, "--deployment", str(file), "--compare-every", "0")
        cache = ("--log-cache", str(Path(folder) / "logs"))
        self.writer = self._begin("index", *options, *cache)
        self._processes = [self.writer]

    def begin_relay(self) -> None:
        """Once there is something to relay."""
        self._processes.append(self._begin("relay"))

    def _begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "tidebook", *arguments],
            env=self._environment,
            stderr=subprocess.DEVNULL,
        )

    def end(self) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
            process.wait()


@contextlib.asynccontextmanager
async def indexing(
    urls: embedded.Urls, node: str, reached: int
) -> AsyncIterator[tuple[Services, Any]]:
    """Both services, the writer at a block at least; and a connection to look."""
    with tempfile.TemporaryDirectory() as folder:
        services = Services(urls, node, folder)
        connection: Any = await asyncpg.connect(urls.database_url)
        try:
            await until(connection, f"block_number >= {reached}", services.writer)
            services.begin_relay()
            yield services, connection
        finally:
            await connection.close()
            services.end()


async def measure(
    urls: embedded.Urls, blocks: int, block_s: float, *, socket: bool = True
) -> list[float]:
    """Announce to row and to message, with the real processes; the row's percentiles."""
    rows: Times = {}
    messages: Times = {}
    with player(blocks, block_s, socket) as (url, node):
        async with indexing(urls, url, FIRST_BLOCK - 10) as (_, connection):
            number = await connection.fetchval("select head_number from tidebook.cursors")
            first, last = number + 6, number + 6 + blocks
            announced, *_ = await asyncio.gather(
                mined(node, last + 1),
                committed(urls.database_url, last + 1, rows),
                delivered(urls.redis_url, last, messages),
            )
    how = "websocket" if socket else f"polling every {POLL_S * 1e3:g} ms"
    sys.stdout.write(f"\nrealtime by {how}: {_about(block_s)}\n")
    row = said("announced to committed row", rows, announced, range(first, last))
    said("announced to message in Redis", messages, announced, range(first, last))
    return row


async def burst(urls: embedded.Urls, blocks: int) -> tuple[float, float]:
    """Blocks faster than they are written: blocks a transaction, and events/s."""
    rows: Times = {}
    last = FIRST_BLOCK + blocks
    with player(blocks, BURST_BLOCK_S, True, "--when-watched") as (url, node):
        async with indexing(urls, url, FIRST_BLOCK) as (_, connection):
            announced, _ = await asyncio.gather(
                mined(node, last), committed(urls.database_url, last, rows)
            )
            transactions = await connection.fetchval(
                "select count(distinct xmin::text) from tidebook.logs"
                " where block_number between $1 and $2",
                FIRST_BLOCK + 1,
                last,
            )
            told = await connection.fetch(
                "select block_number from tidebook.outbox where op = 'apply' order by seq"
            )
    order = [row["block_number"] for row in told]
    assert order == sorted(order), "blocks were told out of order"
    assert set(order) >= set(range(FIRST_BLOCK + 1, last + 1)), "blocks were not told"
    began, done = announced[FIRST_BLOCK + 1], rows[max(rows)]
    rate = blocks * PER_BLOCK / ((done - began) / 1e9)
    mined_in = (announced[last] - began) / 1e9
    sys.stdout.write(
        f"\nburst: {blocks} blocks mined in {mined_in:.2f} s; {_about(BURST_BLOCK_S)}\n"
        f"  {rate:,.0f} events/s committed, in order, {blocks / transactions:.1f} blocks a "
        f"transaction; the last one's row after {(done - announced[last]) / 1e6:.0f} ms\n"
    )
    return blocks / transactions, rate


def _about(block_s: float) -> str:
    load = os.getloadavg()[0]
    return f"{PER_BLOCK} events a block, {block_s:g} s; load {load:.1f} on {os.cpu_count()} cores"


class Clocked:
    """Anything, with the time that its methods take."""

    def __init__(self, inner: Any, spent: dict[str, list[float]]) -> None:
        self._inner = inner
        self._spent = spent

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not asyncio.iscoroutinefunction(found):
            return found

        async def timed(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return await found(*arguments, **named)
            finally:
                table = getattr(arguments[0], "name", "") if arguments else ""
                self._spent[f"{name} {table}".strip()].append(time.perf_counter() - began)

        return timed


async def hops(database_url: str, blocks: int, block_s: float) -> None:
    """The writer in this process: what each of its waits costs a block."""
    spent: dict[str, list[float]] = defaultdict(list)
    with player(blocks, block_s, True) as (url, _):
        source = await Providers.open([url], DEPLOYMENT)
        store = await open_store(database_url, DEPLOYMENT)
        inner: Any = store
        inner._database = Clocked(inner._database, spent)
        inner._checkpoints._database = inner._database
        clocked: Any = Clocked(source, spent)
        asked = await inner._database._inner._connection.fetchrow("select pg_backend_pid()")
        backend = asked[0]
        seen, cpu, began, wanted = 0, 0.0, 0.0, blocks
        profile = cProfile.Profile(time.process_time)

        def told(canon: Any, blocks: int, events: int, node_head: int) -> None:
            nonlocal seen, cpu, began
            seen += bool(blocks)
            if seen == 8 and blocks:
                spent.clear()
                cpu, began = time.process_time(), tree_cpu_s(backend)
            if seen == 8 + wanted // 2 and blocks:
                profile.enable()
                cpu = time.process_time() - cpu  # as it is without being watched
            if seen >= 8 + wanted:
                raise StopAsyncIteration

        with contextlib.suppress(RuntimeError, StopAsyncIteration):
            await follow(
                store,
                lambda canon, mirror: Follower(clocked, canon, DEPLOYMENT, mirror.books),
                told,
            )
        profile.disable()
        began = tree_cpu_s(backend) - began
        sys.stdout.write(
            f"  CPU ms a block: writer {cpu / (blocks // 2) * 1e3:.1f}, its Postgres backend "
            f"{began / blocks * 1e3:.1f}; load {os.getloadavg()[0]:.1f}\n"
        )
        await store.close()
        await source.close()
    parts = ", ".join(f"{part} {share:.0%}" for part, share in spenders(profile))
    sys.stdout.write(f"  the writer's CPU: {parts}\n")
    sys.stdout.write("  waits of the writer, ms a block:\n")
    total = {name: sum(times) / blocks * 1e3 for name, times in spent.items()}
    for name, ms in sorted(total.items(), key=lambda one: -one[1])[:16]:
        calls = len(spent[name]) / blocks
        sys.stdout.write(f"    {ms:6.2f}  {name} ({calls:.1f} times)\n")


PARTS = (
    ("fold", "/indexer/mirror/"),
    ("rows and their statements", "/indexer/store/"),
    ("messages", "/indexer/wire.py"),
    ("talking to Postgres", "/asyncpg/"),
    ("the node's answers", "/indexer/chain/", "/aiohttp/"),
    ("decoding", "/indexer/decode.py", "/abis/"),
)


def spenders(profile: cProfile.Profile) -> list[tuple[str, float]]:
    """What the writer's own CPU went to, dearest first, in shares; built-ins are their callers'."""
    found: dict[str, float] = defaultdict(float)
    stats: Any = pstats.Stats(profile)
    for (file, _, _), (_, _, own, _, callers) in stats.stats.items():
        if file == "~":
            for (caller, _, _), (_, _, of_caller, _) in callers.items():
                found[_part(caller)] += of_caller
        else:
            found[_part(file)] += own
    total = sum(found.values())
    return sorted(((part, s / total) for part, s in found.items()), key=lambda one: -one[1])


def _part(file: str) -> str:
    for name, *places in PARTS:
        if any(place in file for place in places):
            return name
    return "else"


async def test_realtime(servers: embedded.Urls, database_url: str, redis_url: str) -> None:
    urls = embedded.Urls(database_url, redis_url)
    row = await measure(urls, BLOCKS, BLOCK_S)
    assert row[0] < MOST_MS


async def test_polling(servers: embedded.Urls, database_url: str, redis_url: str) -> None:
    urls = embedded.Urls(database_url, redis_url)
    row = await measure(urls, POLLED_BLOCKS, BLOCK_S, socket=False)
    assert row[0] < MOST_MS


async def test_burst(servers: embedded.Urls, database_url: str, redis_url: str) -> None:
    shared, _ = await burst(embedded.Urls(database_url, redis_url), BURST_BLOCKS)
    assert shared > 1, "every block by itself, and they came faster"


def main() -> None:
    import migrations

    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--blocks", type=int, default=BLOCKS)
    parse.add_argument("--block-time", type=float, default=BLOCK_S)
    parse.add_argument("--polling", action="store_true")
    parse.add_argument("--burst", action="store_true")
    parse.add_argument("--hops", action="store_true")
    asked = parse.parse_args()

    async def run(urls: embedded.Urls) -> None:
        await migrations.upgrade(urls.database_url)
        if asked.hops:
            await hops(urls.database_url, asked.blocks, asked.block_time)
        elif asked.burst:
            await burst(urls, BURST_BLOCKS)
        else:
            await measure(urls, asked.blocks, asked.block_time, socket=not asked.polling)

    with tempfile.TemporaryDirectory() as folder, embedded.servers(Path(folder)) as urls:
        asyncio.run(run(urls))


if __name__ == "__main__":
    main()
