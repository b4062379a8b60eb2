"""The whole history into Postgres: `tidebook index` against the player, from start to ready.

    .venv/bin/python -m tests.benchmarks.bench_backfill 20000 300000 1000000
    make bench

Everything runs as a user runs it: the real command in a process of its own, an embedded Postgres
with its durability on, the player as the node. The clock runs from the start of the process until
the cursor is at the player's head, ten blocks of which come live. The baselines are of the same
run: the same logs fetched and parsed and no more, the same rows COPYed into bare tables and no
more, and Ponder (peer.py), where npm is.
"""

import asyncio
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

import migrations
from tests.benchmarks import peer
from tests.benchmarks.player import cpu_s, fetch_raw, playing
from tests.benchmarks.processes import Cost, Peak, parent, tree_cpu_s
from tidebook import embedded

EVENTS = 100_000
POLL_S = 0.02
MOST_CPU_S = 9
"""For 100,000 events; above it something is broken, whatever else runs on the machine."""
MOST_RSS_MB = 300
TABLES = (
    *("blocks", "events", "trades", "order_changes", "level_changes", "balance_changes"),
    *("orders", "levels", "balances", "candles"),
)


class Result(Cost, kw_only=True):
    """What one backfill took, and the baselines."""

    rows: int
    first_s: float
    fetch_rate: float
    copy_s: float

    def __str__(self) -> str:
        bare_s = self.events / self.fetch_rate
        return (
            f"backfill: {self.events:,} events, {self.rows:,} rows in {self.seconds:.2f} s "
            f"(the first batch after {self.first_s:.2f} s): {self.rate:,.0f} events/s\n"
            f"  {self.told('tidebook')}\n"
            f"  raw fetch+parse {self.fetch_rate:,.0f} events/s: {self.seconds / bare_s:.1f} times "
            f"that; raw COPY {self.rows / self.copy_s:,.0f} rows/s: "
            f"{self.seconds / self.copy_s:.1f} times that"
        )


def command(*arguments: str, url: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "TIDEBOOK_DATABASE_URL": url}
    return subprocess.Popen([sys.executable, "-m", "tidebook", *arguments], env=environment)


async def until(
    connection: Any, condition: str, process: subprocess.Popen[bytes], peak: Peak | None = None
) -> None:
    """Until a condition on the cursor holds; a `peak` looks on."""
    while not await connection.fetchval(
        f"select exists(select from tidebook.cursors where {condition})"
    ):
        assert process.poll() is None, "the writer has ended"
        if peak is not None:
            peak.look()
        await asyncio.sleep(POLL_S)


async def backfill(events: int, url: str, cache: Path) -> Result:
    """Index a synthetic chain into an empty database that has the schema."""
    connection: Any = await asyncpg.connect(url)
    postmaster = parent(await connection.fetchval("select pg_backend_pid()"))
    with playing(events) as (node, player):
        last = int(msgspec.json.decode(await asyncio.to_thread(_ask_head, node)))
        postgres_before, player_before = tree_cpu_s(postmaster), cpu_s(player.pid)
        began = time.perf_counter()
        options = ("--rpc", node, "--compare-every", "0", "--log-cache", str(cache))
        process = command("index", *options, url=url)
        peak = Peak(process.pid)
        try:
            await until(connection, "block_number > 0", process, peak)
            first_s = time.perf_counter() - began
            await until(connection, f"block_number = {last}", process, peak)
            seconds = time.perf_counter() - began
            cpu = tree_cpu_s(process.pid)
            postgres = tree_cpu_s(postmaster) - postgres_before
            players = cpu_s(player.pid) - player_before
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
        found, fetch_s, _ = await fetch_raw(node, last)
    rows, copy_s = await copy_raw(connection)
    stored = await connection.fetchval("select count(*) from tidebook.events")
    assert stored == found, f"{stored} of {found} events"
    unverified = "select count(*) from tidebook.trades where verified is not true"
    assert not await connection.fetchval(unverified)
    await connection.close()
    return Result(
        events=found,
        seconds=seconds,
        cpu=cpu,
        postgres_cpu=postgres,
        player_cpu=players,
        rss=peak.mb,
        rows=rows,
        first_s=first_s,
        fetch_rate=found / fetch_s,
        copy_s=copy_s,
    )


def _ask_head(node: str) -> str:
    import urllib.request

    asked = b'{"jsonrpc":"2.0","id":1,"method":"eth_getBlockByNumber","params":["latest",false]}'
    with urllib.request.urlopen(urllib.request.Request(node, asked)) as answer:
        return str(int(msgspec.json.decode(answer.read())["result"]["number"], 16))


async def copy_raw(connection: Any) -> tuple[int, float]:
    """The same rows once more, by COPY into tables without an index: rows and seconds."""
    rows, seconds = 0, 0.0
    for table in TABLES:
        text = io.BytesIO()
        await connection.copy_from_query(f"select * from tidebook.{table}", output=text)
        await connection.execute(f"create table raw_{table} (like tidebook.{table})")
        text.seek(0)
        began = time.perf_counter()
        done = await connection.copy_to_table(f"raw_{table}", source=text)
        seconds += time.perf_counter() - began
        rows += int(done.split()[-1])
        await connection.execute(f"drop table raw_{table}")
    return rows, seconds


async def test_backfill(database_url: str, other_database_url: str, tmp_path: Path) -> None:
    cold = await backfill(EVENTS, database_url, tmp_path)
    sys.stdout.write(f"\ncold {cold}\n")
    warm = await backfill(EVENTS, other_database_url, tmp_path)
    sys.stdout.write(f"from the log cache {warm}\n")
    await peer.tell(EVENTS, database_url, {"cold": cold, "warm": warm})
    for result in (cold, warm):
        assert result.cpu_per_100k < MOST_CPU_S
        assert result.rss < MOST_RSS_MB


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, embedded.servers(Path(folder)) as urls:
        for events in map(int, sys.argv[1:] or [str(EVENTS)]):
            cache = Path(folder) / f"log-cache-{events}"
            ours = {}
            for name, title in (("cold", "cold"), ("warm", "from the log cache")):
                url = asyncio.run(_database(urls.database_url, f"{name} {events}"))
                result = asyncio.run(backfill(events, url, cache))
                ours[name] = result
                sys.stdout.write(f"{title} {result}\n")
            asyncio.run(peer.tell(events, url, ours))


async def _database(base: str, name: str) -> str:
    connection: Any = await asyncpg.connect(base)
    plain = name.replace(" ", "_")
    await connection.execute(f"create database {plain}")
    await connection.close()
    url = base.replace("/postgres?", f"/{plain}?")
    await migrations.upgrade(url)
    return url


if __name__ == "__main__":
    main()
