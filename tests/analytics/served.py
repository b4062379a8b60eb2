"""What analytics' tests are made of: an indexed chain, and analytics served over it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from analytics.app import Config, build
from indexer.domain.order import Trade
from indexer.mirror.fold import Mirror
from tidebook.serving import serve

Get = Callable[..., Awaitable[Any]]


@dataclass(frozen=True)
class Indexed:
    """A database with a whole recording in it, and the same recording folded in memory."""

    database_url: str
    chain_id: int
    mirror: Mirror
    trades: list[Trade]


class serving:  # noqa: N801  # reads as a verb: async with serving(config) as url
    """Analytics as its process runs it, for as long as a test needs it."""

    def __init__(self, config: Config) -> None:
        self._app = build(config)

    async def __aenter__(self) -> str:
        port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(serve(self._app, "127.0.0.1", 0, port.set_result))
        waiting: set[asyncio.Future[Any]] = {self._task, port}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            self._task.result()
        return f"http://127.0.0.1:{port.result()}"

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})
