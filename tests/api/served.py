"""What the API's tests are made of: an indexed chain, and the API served over a database."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from api.app import Config, build, server_options
from indexer.domain.order import Trade
from indexer.mirror.fold import Mirror
from tidebook.serving import serve

Ask = Callable[..., Awaitable[Any]]


@dataclass(frozen=True)
class Indexed:
    """A database with a whole recording in it, and the same recording folded in memory."""

    database_url: str
    chain_id: int
    mirror: Mirror
    trades: list[Trade]


class serving:  # noqa: N801  # reads as a verb: async with serving(config) as url
    """The API as its process runs it, for as long as a test needs it."""

    def __init__(self, config: Config, host: str = "127.0.0.1", port: int = 0) -> None:
        self._app, self._host, self._port = build(config), host, port

    async def __aenter__(self) -> str:
        port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        running = serve(self._app, self._host, self._port, port.set_result, **server_options())
        self._task = asyncio.create_task(running)
        waiting: set[asyncio.Future[Any]] = {self._task, port}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            self._task.result()
        return f"http://127.0.0.1:{port.result()}"

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})
