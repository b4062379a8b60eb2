"""How long analytics takes to answer, and to fold everything anew.

Two data sets: a crowded exchange (50 markets, one account with 10,000 fills) for the bars of
portfolio, overview and rebuild, and a recorded chain for every endpoint there is. One client, one
request at a time; `wall` is the time inside the application, `cpu` this process's part of it. Cold
is the first request of a process; warm ones each come after a new block.
"""

import time
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

from analytics.app import ENDPOINTS, Config, build
from analytics.kept import Keeper
from indexer.chain.recording import Playback, Recording
from indexer.follow import follow
from indexer.store import postgres
from indexer.store.writer import open_store
from tests.benchmarks import crowd

ROUNDS = 15
CROWDED = {
    "portfolio of 10,000 fills": f"/api/portfolio/{crowd.ACCOUNT}",
    "its pnl by all methods": f"/api/portfolio/{crowd.ACCOUNT}/pnl",
    "overview of 50 markets": "/api/market/overview",
    "leaderboard of a day's volume": "/api/leaderboard/volume/24h",
}


async def ask(app: Starlette, path: str, query: dict[str, str] | None = None) -> None:
    """One request, without a socket."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    text = "&".join(f"{name}={value}" for name, value in (query or {}).items())
    scope = {"type": "http", "method": "GET", "path": path, "query_string": text.encode()}
    await app({**scope, "headers": [], "app": app}, receive, send)
    assert sent[0]["status"] == 200, (path, sent)


async def timed(
    app: Starlette, path: str, query: dict[str, str] | None = None
) -> tuple[float, float]:
    """Milliseconds of wall clock and of CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    await ask(app, path, query)
    return (time.perf_counter() - wall) * 1000, (time.process_time() - cpu) * 1000


async def test_a_crowded_exchange(database_url: str) -> None:
    await crowd.fill(database_url)
    connection = await postgres.connect(database_url)
    app, height = build(Config(database_url, 1)), crowd.BLOCKS
    for name, path in CROWDED.items():
        cold, cold_cpu = await timed(app, path)
        walls, cpus = [], []
        for _ in range(ROUNDS):
            await crowd.append_block(connection, height)
            height += 1
            wall, cpu = await timed(app, path)
            walls.append(wall)
            cpus.append(cpu)
        print(  # noqa: T201
            f"\n{name}: warm {sorted(walls)[ROUNDS // 2]:.1f} ms wall (best {min(walls):.1f}), "
            f"{sorted(cpus)[ROUNDS // 2]:.1f} ms cpu; cold {cold:.0f} ms ({cold_cpu:.0f} cpu)"
        )
    await rebuild(connection, 2 * (crowd.FILLS + crowd.OTHER_TRADES))
    await connection.close()


async def rebuild(connection: postgres.Connection, fills: int) -> None:
    """Analytics' own tables anew; `fills` are those of the history they are made from."""
    wall, cpu = time.perf_counter(), time.process_time()
    await Keeper(connection).rebuild()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    rows = await connection.fetchval("select count(*) from tidebook.analytics_tops")
    changes = await connection.fetchval("select count(*) from tidebook.level_changes")
    print(  # noqa: T201
        f"\nrebuild: a history of {fills} fills and {changes} level changes, {rows} rows, in "
        f"{wall:.2f} s ({cpu:.2f} s cpu): {fills / wall:,.0f} fills/s, {changes / wall:,.0f} "
        "level changes/s"
    )


async def test_every_endpoint(database_url: str, recordings: Path) -> None:
    recording = Recording(recordings / "gtx_main.jsonl.gz")
    store = await open_store(database_url, recording.deployment)
    await follow(store, lambda canon, mirror: Playback(recording, canon))
    await store.close()
    connection = await postgres.connect(database_url)
    account = await connection.fetchval(
        "select maker from tidebook.trades group by 1 order by count(*) desc limit 1"
    )
    fills = 2 * await connection.fetchval("select count(*) from tidebook.trades")
    await rebuild(connection, fills)
    await connection.execute("update tidebook.cursors set live = true")
    await connection.close()
    app = build(Config(database_url, recording.deployment.chain_id))
    values = {"symbol": "WETH-USDC", "side": "buy", "quantity": "1"}
    for one in ENDPOINTS:
        path = one.path.format(address=account, symbol="WETH-USDC", type="pnl", period="all")
        query = {p.name: values[p.name] for p in one.own if p.required and p.where == "query"}
        times = [await timed(app, path, query) for _ in range(ROUNDS)]
        wall, cpu = sorted(times)[ROUNDS // 2]
        print(f"{wall:8.1f} ms wall {cpu:8.1f} ms cpu   {one.path}")  # noqa: T201
