"""A recorded chain, indexed once by the real writer, and analytics served over it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

import migrations
from analytics.app import Config
from indexer.chain.recording import Playback, Recording
from indexer.decode import decode, select
from indexer.domain.order import Trade
from indexer.follow import follow
from indexer.mirror.fold import Mirror
from indexer.store.writer import open_store
from tests.analytics.served import Get, Indexed, serving
from tidebook import embedded


@pytest.fixture(scope="session")
def indexed(servers: embedded.Urls, recordings: Path) -> Indexed:
    """`gtx_main`, indexed."""
    recording = Recording(recordings / "gtx_main.jsonl.gz")
    deployment = recording.deployment
    tokens = [t for a in deployment.tokens if (t := deployment.token(a)) is not None]
    mirror = Mirror(deployment)
    trades: list[Trade] = []
    for recorded in recording.blocks():
        logs = select(recorded.logs, deployment, mirror.books)
        applied = mirror.apply(recorded.block, decode(recorded.block, logs), tokens, final=True)
        trades += applied.trades
    database_url = asyncio.run(_index(servers.database_url, recording))
    return Indexed(database_url, deployment.chain_id, mirror, trades)


async def _index(server_url: str, recording: Recording) -> str:
    connection: Any = await asyncpg.connect(server_url)
    await connection.execute("create database analytics_main")
    await connection.close()
    database_url = server_url.replace("/postgres?", "/analytics_main?")
    await migrations.upgrade(database_url)
    store = await open_store(database_url, recording.deployment)
    await follow(store, lambda canon, mirror: Playback(recording, canon))
    await store.close()
    return database_url


@pytest.fixture(scope="session")
def base_url(indexed: Indexed) -> Iterator[str]:
    """Analytics over the indexed chain, on a free port, in a thread and a loop of its own."""
    url: Future[str] = Future()
    done = threading.Event()

    async def run() -> None:
        async with serving(Config(indexed.database_url, indexed.chain_id)) as served:
            url.set_result(served)
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    yield url.result(timeout=10)
    done.set()
    thread.join()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def get(base_url: str, http: aiohttp.ClientSession) -> Get:
    """GET a path with parameters; the JSON of an answer of the status expected."""

    async def ask(path: str, expected: int = 200, /, **parameters: object) -> Any:
        query = {name: str(value) for name, value in parameters.items()}
        async with http.get(base_url + path, params=query) as response:
            said = await response.text()
            assert response.status == expected, said[:300]
            return await response.json()

    return ask
