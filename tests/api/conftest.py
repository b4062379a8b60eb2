"""A recorded chain, indexed once by the real writer, and the API served over it."""

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

import migrations
from api.app import Config
from indexer.chain.recording import Playback, Recording
from indexer.decode import decode, select
from indexer.domain.order import Trade
from indexer.follow import follow
from indexer.mirror.fold import Mirror
from indexer.store.writer import open_store
from tests.api.served import Ask, Indexed, serving
from tidebook import embedded

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def indexed(servers: embedded.Urls, recordings: Path) -> Indexed:
    """`gtx_main`, indexed."""
    recording = Recording(recordings / "gtx_main.jsonl.gz")
    mirror, trades = _fold(recording)
    database_url = asyncio.run(_index(servers.database_url, recording))
    return Indexed(database_url, recording.deployment.chain_id, mirror, trades)


def _fold(recording: Recording) -> tuple[Mirror, list[Trade]]:
    deployment = recording.deployment
    tokens = [t for a in deployment.tokens if (t := deployment.token(a)) is not None]
    mirror = Mirror(deployment)
    trades: list[Trade] = []
    for recorded in recording.blocks():
        logs = select(recorded.logs, deployment, mirror.books)
        applied = mirror.apply(recorded.block, decode(recorded.block, logs), tokens, final=True)
        trades += applied.trades
    return mirror, trades


async def _index(server_url: str, recording: Recording) -> str:
    name = f"api_{next(_numbers)}"
    connection: Any = await asyncpg.connect(server_url)
    await connection.execute(f"create database {name}")
    await connection.close()
    database_url = server_url.replace("/postgres?", f"/{name}?")
    await migrations.upgrade(database_url)
    store = await open_store(database_url, recording.deployment)
    await follow(store, lambda canon, mirror: Playback(recording, canon))
    await store.close()
    return database_url


@pytest.fixture(scope="session")
def base_url(indexed: Indexed) -> Iterator[str]:
    """The API over the indexed chain, on a free port, in a thread and a loop of its own."""
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
async def ask_all(base_url: str, http: aiohttp.ClientSession) -> Ask:
    """Ask GraphQL; the whole answer."""

    async def ask(query: str, **variables: object) -> Any:
        body = {"query": query, "variables": variables}
        async with http.post(f"{base_url}/graphql", json=body) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    return ask


@pytest.fixture
async def ask(ask_all: Ask) -> Ask:
    """Ask GraphQL; the data of an answer without errors."""

    async def ask(query: str, **variables: object) -> Any:
        answer = await ask_all(query, **variables)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    return ask
