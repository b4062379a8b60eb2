"""Readers of a Postgres whose machine has vanished: nothing is refused, nothing is answered."""

import asyncio

import aiohttp
import pytest
from sqlalchemy.exc import SQLAlchemyError

import analytics.app
import api.app
from indexer.store import snapshot
from tests.api.served import serving
from tests.faults.proxy import tcp_proxy
from tests.indexed import Indexed, Served
from ws import markets

DEADLINE_S = 10.0
SOON_S = 0.5
BOTH = {"query": "{ a: markets { symbol } b: markets { symbol } }"}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("DIAL_S", "ANSWER_S"):
        monkeypatch.setattr(snapshot, limit, SOON_S)
    monkeypatch.setattr(api.app, "STATEMENT_TIMEOUT_MS", 100)
    monkeypatch.setattr(analytics.app, "STATEMENT_TIMEOUT_MS", 100)
    monkeypatch.setattr(markets, "TIMEOUT_S", SOON_S)


async def test_the_api_answers_503_and_its_pool_recovers(
    indexed: Indexed, http: aiohttp.ClientSession
) -> None:
    async with tcp_proxy(indexed.database_url) as (between, through):
        config = api.app.Config(through, indexed.chain_id, pool_size=3, pool_timeout_s=SOON_S)
        async with serving(config) as base:
            asked = [f"{base}/api/v3/ticker/price"] * 2 + [f"{base}/health", f"{base}/ready"] * 2
            assert await _statuses(http, asked) == {200}
            between.fall_silent()
            assert await _statuses(http, asked) == {503}  # over connections there are
            assert await _statuses(http, asked) == {503}  # over new ones
            async with asyncio.timeout(DEADLINE_S), http.post(f"{base}/graphql", json=BOTH) as told:
                errors = (await told.json())["errors"]
            assert {one["extensions"]["code"] for one in errors} == {"UNAVAILABLE"}
            between.speak()
            assert await _statuses(http, asked) == {200}


async def test_so_does_analytics(indexed: Indexed, http: aiohttp.ClientSession) -> None:
    async with tcp_proxy(indexed.database_url) as (between, through):
        config = analytics.app.Config(through, indexed.chain_id, pool_timeout_s=SOON_S)
        async with Served(analytics.app.build(config)) as base:
            asked = [f"{base}/api/market/overview", f"{base}/health"] * 2
            assert await _statuses(http, asked) == {200}
            between.fall_silent()
            assert await _statuses(http, asked) == {503}
            between.speak()
            assert await _statuses(http, asked) == {200}


@pytest.mark.parametrize("pooled", [True, False])
async def test_the_live_feeds_reads_end(indexed: Indexed, pooled: bool) -> None:
    async with tcp_proxy(indexed.database_url) as (between, through):
        engine = markets.connect(through, pooled=pooled)
        known = await markets.read_listings(engine)
        between.fall_silent()
        async with asyncio.timeout(DEADLINE_S):
            with pytest.raises((SQLAlchemyError, OSError)):
                await markets.read_listings(engine)
            between.speak()
            assert await markets.read_listings(engine) == known
            await engine.dispose()


async def _statuses(http: aiohttp.ClientSession, urls: list[str]) -> set[int]:
    async def ask(url: str) -> int:
        async with http.get(url) as response:
            return response.status

    async with asyncio.timeout(DEADLINE_S):
        return set(await asyncio.gather(*map(ask, urls)))
