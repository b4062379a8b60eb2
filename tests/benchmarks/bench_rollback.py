"""A rollback costs what the blocks it takes back cost: writer, Postgres and all.

    .venv/bin/python -m tests.benchmarks.bench_rollback
    make bench

The blocks of a synthetic chain are indexed as at the head, and taken back 1, 4, 16 and 64 at a
time. Told in CPU time, the writer's and its Postgres backend's, against what the same blocks cost
to apply. The second round is on a longer chain: it must not matter what lies below.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg

from indexer.chain.recording import Recording
from indexer.decode import created_markets, select
from indexer.domain.canon import Canon
from indexer.domain.step import Advance, Rollback, Step
from indexer.domain.units import Address
from indexer.follow import follow
from indexer.store.writer import open_store
from tests.benchmarks.chains import DEPLOYMENT, SEED, chain
from tests.benchmarks.processes import tree_cpu_s
from tidebook import embedded

DEPTHS = (1, 4, 16, 64)
LENGTHS = (200, 1_600)
"""Blocks below: 11,000 and 90,000 events."""
ROUNDS = {1: 24, 4: 8, 16: 3, 64: 1}
MOST = 4.0
"""Price of taking an event back in that of applying it, at which something is broken."""


class Script:
    """Steps as a node at the head would bring them; says what each batch cost."""

    node_head = 0

    def __init__(self, canon: Canon, advances: Sequence[Advance], below: int, backend: int) -> None:
        self._canon = canon
        self._advances = advances
        self._below = below
        self._backend = backend
        self.costs: dict[int, tuple[float, float]] = {}
        """CPU ms of an event by depth: applied, and taken back."""

    async def batches(self) -> AsyncIterator[Sequence[Step]]:
        past, live = self._advances[: self._below], self._advances[self._below :]
        for at in range(0, len(past), 200):
            yield self._taken([_final(one) for one in past[at : at + 200]])
        yield self._taken(live[:1])
        for depth in DEPTHS:
            blocks = live[1 : 1 + depth]
            applied = back = 0.0
            for _ in range(ROUNDS[depth]):
                began = self._cpu_s()
                yield self._taken(blocks)
                half = self._cpu_s()
                self._canon.rollback(live[0].block.ref)
                yield [Rollback(live[0].block)]
                applied, back = applied + half - began, back + self._cpu_s() - half
            events = ROUNDS[depth] * sum(len(one.logs) for one in blocks)
            self.costs[depth] = applied / events * 1e3, back / events * 1e3

    def _taken(self, blocks: Sequence[Advance]) -> list[Step]:
        for one in blocks:
            if one.finality == "finalized":
                self._canon.restart(one.block)
            else:
                self._canon.advance(one.block)
        return list(blocks)

    def _cpu_s(self) -> float:
        return time.process_time() + tree_cpu_s(self._backend)


def _final(one: Advance) -> Advance:
    return Advance(one.block, one.logs, one.tokens, "finalized")


def advances(blocks: int) -> list[Advance]:
    tokens = tuple(t for a in DEPLOYMENT.tokens if (t := DEPLOYMENT.token(a)) is not None)
    markets: set[Address] = set()
    found: list[Advance] = []
    for one in Recording(chain(100_000)).blocks():
        if len(found) == blocks:
            break
        logs = select(one.logs, DEPLOYMENT, markets)
        markets |= created_markets(logs, DEPLOYMENT)
        found.append(Advance(one.block, tuple(logs), tokens))
    return found


async def measure(database_url: str, below: int) -> dict[int, tuple[float, float]]:
    """CPU ms an event, applied and taken back, by depth."""
    store = await open_store(database_url, DEPLOYMENT)
    database: Any = store._database
    (backend,) = await database._connection.fetchrow("select pg_backend_pid()")
    scripts: list[Script] = []

    def source(canon: Canon, _: Any) -> Script:
        scripts.append(Script(canon, advances(below + 1 + max(DEPTHS)), below, backend))
        return scripts[0]

    await follow(store, source)
    await store.close()
    return scripts[0].costs


def tell(costs: dict[int, tuple[float, float]], below: int) -> float:
    """Say it; returns the worst price of an event taken back in that of one applied."""
    sys.stdout.write(
        f"\nrollback on {below:,} blocks, seed {SEED}; CPU ms of writer and Postgres backend an "
        f"event; load {os.getloadavg()[0]:.1f}\n"
    )
    for depth, (applied, back) in costs.items():
        sys.stdout.write(
            f"  depth {depth:>2}: applied {applied:.3f}, taken back {back:.3f} "
            f"({back / applied:.2f} times)\n"
        )
    return max(back / applied for applied, back in costs.values())


async def test_rollback(database_url: str) -> None:
    assert tell(await measure(database_url, LENGTHS[0]), LENGTHS[0]) < MOST


def main() -> None:
    import migrations

    async def run(base: str) -> None:
        for below in LENGTHS:
            connection: Any = await asyncpg.connect(base)
            await connection.execute(f"create database bench_{below}")
            await connection.close()
            url = base.replace("/postgres?", f"/bench_{below}?")
            await migrations.upgrade(url)
            tell(await measure(url, below), below)

    with tempfile.TemporaryDirectory() as folder, embedded.servers(Path(folder)) as urls:
        asyncio.run(run(urls.database_url))


if __name__ == "__main__":
    main()
