"""Time travel: the same questions about the same old block, on a short chain and on a long one.

    make bench

Both chains have one seed, so the long one is the short one and more: the answers must be equal, and
what they take must not grow. Asked through GraphQL in this process, over a real Postgres. The pages
that its statements touch are counted by Postgres itself and do not depend on who else is at work;
the time is that of the whole answer, the rest of the machine with it.
"""

import asyncio
import json
import os
import time
from typing import Any

import asyncpg
import pytest

from api.app import Config, build
from api.kept import Kept
from indexer.chain.recording import Recording
from indexer.store import postgres
from indexer.store.queries import Query
from indexer.store.snapshot import Snapshot
from tests.benchmarks.bench_api import call
from tests.benchmarks.chains import chain
from tests.indexed import index
from tidebook import embedded

SHORT, LONG = 10_000, 300_000
BLOCK = 150
BEHIND_HEAD = 20
"""The other block asked about is so far behind the head: all that a chain has is before it."""
TIMES = 60
MOST_GROWTH = 2.0
"""Of the pages, on a chain thirty times as long: indexes have a level more."""

QUESTIONS = {
    "L2 book, 100 levels a side": """{ depth(market: "%(market)s", limit: 100,
        block: {number: %(block)s}) { bids { price quantity } asks { price quantity } } }""",
    "L3 book, 100 orders a side": """{ book(market: "%(market)s", limit: 100,
        block: {number: %(block)s}) { bids { orderId position } asks { orderId position } } }""",
    "100 orders": """{ orders(market: "%(market)s", limit: 100, block: {number: %(block)s})
        { orderId status filled } }""",
    "an account's balances": """{ balances(account: "%(account)s", block: {number: %(block)s})
        { available locked } }""",
}


@pytest.fixture(scope="module")
def chains(servers: embedded.Urls) -> dict[int, str]:
    """The two chains, indexed: databases by events."""
    return {
        events: asyncio.run(index(servers.database_url, Recording(chain(events))))
        for events in (SHORT, LONG)
    }


async def names(database_url: str, late: bool) -> dict[str, Any]:
    """The busiest market and account up to the block."""
    connection: Any = await asyncpg.connect(database_url)
    busiest = """select '0x' || encode({0}, 'hex') from tidebook.{1} where block_number <= {2}
                 group by {0} order by count(*) desc, {0} limit 1"""
    head = await connection.fetchval("select block_number from tidebook.cursors")
    block = head - BEHIND_HEAD if late else BLOCK
    market = await connection.fetchval(busiest.format("market", "level_changes", block))
    account = await connection.fetchval(busiest.format("account", "balance_changes", block))
    await connection.execute("vacuum analyze")
    await connection.close()
    return {"market": market, "account": account, "block": block}


async def pages(database_url: str, statements: list[tuple[str, list[Any]]]) -> int:
    """Pages of 8 KiB that some statements touch."""
    connection = await postgres.connect(database_url)
    touched = 0
    for text, arguments in statements:
        explain = f"explain (analyze, buffers, format json) {text}"
        plan = json.loads(await connection.fetchval(explain, *arguments))[0]["Plan"]
        touched += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    await connection.close()
    return touched


@pytest.mark.parametrize("late", [False, True])
async def test_the_past_costs_the_same_on_a_long_chain(
    chains: dict[int, str], monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    found: dict[str, list[tuple[bytes, float, int]]] = {name: [] for name in QUESTIONS}
    read, statements = Snapshot.read, []

    async def watch(self: Snapshot, statement: Any, values: Any = None) -> Any:
        query = statement if isinstance(statement, Query) else Query(statement)
        statements.append((query.text, query.arguments(values)))
        return await read(self, query, values)

    monkeypatch.setattr(Snapshot, "read", watch)
    monkeypatch.setattr(Kept, "keep", lambda *_: None)
    for database_url in chains.values():
        asked = await names(database_url, late)
        app = build(Config(database_url, 1))
        for name, question in QUESTIONS.items():
            body = json.dumps({"query": question % asked}).encode()
            times = []
            statements.clear()
            await call(app, "POST", "/graphql", "", body)
            touched = await pages(database_url, statements.copy())
            for _ in range(TIMES):
                begin = time.perf_counter()
                answer = await call(app, "POST", "/graphql", "", body)
                times.append((time.perf_counter() - begin) * 1000)
            found[name].append((answer, sorted(times)[TIMES // 2], touched))
    where = f"{BEHIND_HEAD} blocks behind the head" if late else f"block {BLOCK}"
    print(f"\n{where}, load {os.getloadavg()[0]:.1f}; p50 of whole answers:")  # noqa: T201
    for name, ((short, short_ms, few), (long, long_ms, many)) in found.items():
        print(  # noqa: T201
            f"  {name:26} {SHORT // 1000}k events {few:6} pages {short_ms:6.2f} ms,"
            f" {LONG // 1000}k {many:6} pages {long_ms:6.2f} ms: {many / few:.2f} x the pages"
        )
        assert b"errors" not in short, short
        assert late or json.loads(short) == json.loads(long), name
        assert many / few < MOST_GROWTH, name
