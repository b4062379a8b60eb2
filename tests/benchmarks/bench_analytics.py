"""How long analytics takes to answer over a recorded chain.

Prints milliseconds by endpoint, with books folded from facts at each request and then with the
rows that are kept. One client, one request at a time.
"""

import time
from pathlib import Path

import aiohttp

from analytics.app import ENDPOINTS, Config
from analytics.kept import Keeper
from indexer.chain.recording import Playback, Recording
from indexer.follow import follow
from indexer.store import postgres
from indexer.store.writer import open_store
from tests.analytics.served import serving

ROUNDS = 5


async def test_answers(database_url: str, recordings: Path) -> None:
    recording = Recording(recordings / "gtx_main.jsonl.gz")
    store = await open_store(database_url, recording.deployment)
    await follow(store, lambda canon, mirror: Playback(recording, canon))
    await store.close()
    folded = await measure(database_url, recording.deployment.chain_id)
    connection = await postgres.connect(database_url)
    begin = time.perf_counter()
    await Keeper(connection).rebuild()
    rebuilt_s = time.perf_counter() - begin
    rows = await connection.fetchval("select count(*) from tidebook.analytics_tops")
    await connection.execute("update tidebook.cursors set live = true")
    kept = await measure(database_url, recording.deployment.chain_id)
    await connection.close()
    print(f"\nrebuild: {rows} rows in {rebuilt_s:.2f} s, {rows / rebuilt_s:,.0f} rows/s")  # noqa: T201
    for path, milliseconds in folded.items():
        print(f"{milliseconds:8.1f} ms folded {kept[path]:8.1f} ms kept   {path}")  # noqa: T201


async def measure(database_url: str, chain_id: int) -> dict[str, float]:
    """The median of each endpoint, in milliseconds."""
    connection = await postgres.connect(database_url)
    account = await connection.fetchval(
        "select maker from tidebook.trades group by 1 order by count(*) desc limit 1"
    )
    await connection.close()
    values = {"symbol": "WETH-USDC", "side": "buy", "quantity": "1"}
    took: dict[str, float] = {}
    async with serving(Config(database_url, chain_id)) as url, aiohttp.ClientSession() as session:
        for one in ENDPOINTS:
            path = one.path.format(address=account, symbol="WETH-USDC", type="pnl", period="all")
            query = {p.name: values[p.name] for p in one.own if p.required and p.where == "query"}
            times = []
            for _ in range(ROUNDS):
                begin = time.perf_counter()
                async with session.get(url + path, params=query) as response:
                    await response.read()
                    assert response.status == 200, path
                times.append(time.perf_counter() - begin)
            took[one.path] = sorted(times)[ROUNDS // 2] * 1000
    return took
