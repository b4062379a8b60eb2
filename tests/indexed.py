"""A recorded chain, indexed once by the real writer; and an application served for a session."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
from starlette.applications import Starlette

import migrations
from indexer.chain.recording import Playback, Recording
from indexer.decode import decode, select
from indexer.domain.order import Trade
from indexer.follow import follow
from indexer.mirror.fold import Mirror
from indexer.store.writer import open_store
from tidebook.serving import serve

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Indexed:
    """A database with a whole recording in it, and the same recording folded in memory."""

    database_url: str
    chain_id: int
    mirror: Mirror
    trades: list[Trade]


def indexed(server_url: str, recording: Recording) -> Indexed:
    """A recording in a database of its own, and folded."""
    mirror, trades = _fold(recording)
    database_url = asyncio.run(index(server_url, recording))
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


async def index(server_url: str, recording: Recording) -> str:
    """Write a recording into a new database; its URL."""
    name = f"indexed_{next(_numbers)}"
    connection: Any = await asyncpg.connect(server_url)
    await connection.execute(f"create database {name}")
    await connection.close()
    database_url = server_url.replace("/postgres?", f"/{name}?")
    await migrations.upgrade(database_url)
    store = await open_store(database_url, recording.deployment)
    await follow(store, lambda canon, mirror: Playback(recording, canon))
    await store.close()
    return database_url


class Served:
    """An application as its process runs it: its URL, for as long as a test needs it."""

    def __init__(
        self, app: Starlette, host: str = "127.0.0.1", port: int = 0, **options: Any
    ) -> None:
        self._app, self._host, self._port, self._options = app, host, port, options

    async def __aenter__(self) -> str:
        port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        running = serve(self._app, self._host, self._port, port.set_result, **self._options)
        self._task = asyncio.create_task(running)
        waiting: set[asyncio.Future[Any]] = {self._task, port}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            self._task.result()
        return f"http://127.0.0.1:{port.result()}"

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})


@contextmanager
def in_a_thread(serving: Callable[[], AbstractAsyncContextManager[str]]) -> Iterator[str]:
    """What is served, in a thread and a loop of its own; its URL."""
    url: Future[str] = Future()
    done = threading.Event()

    async def run() -> None:
        async with serving() as served:
            url.set_result(served)
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    try:
        yield url.result(timeout=10)
    finally:
        done.set()
        thread.join()
