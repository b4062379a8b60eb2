"""Does an event cost the same at the end of a long backfill? The whole writer, and its Postgres.

    .venv/bin/python -m tests.benchmarks.long_backfill 1000000

One run of the real `tidebook index` against the player. Whenever its cursor passes a length, what
an event cost since the length before, in CPU time, and the memory of the writer. The first commit,
of 50,000 events, is where it begins: what starting costs is no growth.
"""

import asyncio
import os
import signal
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

import migrations
from tests.benchmarks.bench_backfill import POLL_S, command
from tests.benchmarks.chains import OPENING
from tests.benchmarks.player import playing
from tests.benchmarks.processes import Peak, parent, tree_cpu_s
from tidebook import embedded

LENGTHS = (100_000, 300_000, 500_000, 700_000)


class Point(msgspec.Struct):
    """CPU seconds spent up to a number of events, and most memory had by then."""

    events: int
    writer: float
    postgres: float
    rss_mb: float


async def measure(events: int, url: str, folder: Path) -> list[Point]:
    """One backfill, looked at whenever it passes a length."""
    connection: Any = await asyncpg.connect(url)
    postmaster = parent(await connection.fetchval("select pg_backend_pid()"))
    points: list[Point] = []
    wanted = [OPENING, *(n for n in LENGTHS if n < events), events]
    with playing(events, "--open", "0") as (node, _):
        options = ("--rpc", node, "--compare-every", "0", "--log-cache", str(folder))
        process = command("index", *options, url=url)
        peak = Peak(process.pid)
        try:
            while wanted:
                await asyncio.sleep(POLL_S)
                assert process.poll() is None, "the writer has ended"
                peak.look()
                seen = await connection.fetchval("select events from tidebook.cursors") or 0
                if seen >= wanted[0]:
                    spent = tree_cpu_s(process.pid), tree_cpu_s(postmaster)
                    points.append(Point(seen, *spent, peak.mb))
                    wanted = [n for n in wanted if n > seen]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
    await connection.close()
    return points


def tell(points: list[Point]) -> None:
    """Say it."""
    sys.stdout.write(f"a long backfill; load {os.getloadavg()[0]:.1f}\n")
    costs = []
    for before, one in pairwise(points):
        more = (one.events - before.events) / 1e6
        writer, postgres = (one.writer - before.writer), (one.postgres - before.postgres)
        costs.append((writer / more, postgres / more))
        sys.stdout.write(
            f"  {before.events:>9,} to {one.events:>9,} events: CPU us an event {costs[-1][0]:.1f} "
            f"of the writer, {costs[-1][1]:.1f} of Postgres; peak RSS {one.rss_mb:.0f} MB\n"
        )
    for name, of in (("writer", [w for w, _ in costs]), ("both", [w + p for w, p in costs])):
        sys.stdout.write(f"  dearest / cheapest, {name}: {max(of) / min(of):.2f}\n")


async def _run(events: int, urls: embedded.Urls, folder: Path) -> None:
    await migrations.upgrade(urls.database_url)
    tell(await measure(events, urls.database_url, folder))


def main() -> None:
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as data, embedded.servers(Path(data)) as urls:
        asyncio.run(_run(events, urls, Path(data) / "logs"))


if __name__ == "__main__":
    main()
