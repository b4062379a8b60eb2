"""A connection on which a statement may still be under way while the next is made ready.

Postgres answers in the order of the questions, so whoever asks next waits for what was sent before;
an error of that shows there, or at the latest before the commit.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Any

import asyncpg

from indexer.store import postgres


class Queue:
    """One asyncpg connection, of which the writer's statements take turns."""

    def __init__(self, connection: postgres.Connection) -> None:
        self._connection = connection
        self._sent: asyncio.Task[Any] | None = None

    async def send(
        self, query: str, *values: Any, about: AbstractContextManager[Any] | None = None
    ) -> None:
        """Send a statement, and do not wait until it is done. `about` is around its error."""
        await self._turn()
        self._sent = asyncio.create_task(self._run(query, values, about or nullcontext()))
        await asyncio.sleep(0)  # now it is on its way

    async def execute(self, query: str, *values: Any) -> str:
        await self._turn()
        return await self._connection.execute(query, *values)

    async def executemany(self, query: str, values: Iterable[tuple[object, ...]]) -> None:
        await self._turn()
        await self._connection.executemany(query, values)

    async def fetch(self, query: str, *values: Any) -> list[asyncpg.Record]:
        await self._turn()
        return await self._connection.fetch(query, *values)

    async def fetchrow(self, query: str, *values: Any) -> asyncpg.Record | None:
        await self._turn()
        return await self._connection.fetchrow(query, *values)

    async def copy_to_table(self, name: str, **how: Any) -> None:
        await self._turn()
        await self._connection.copy_to_table(name, **how)

    @asynccontextmanager
    async def transaction(self, **options: Any) -> AsyncIterator[None]:
        """Commits when all that was sent is done."""
        async with self._connection.transaction(**options):
            try:
                yield
                await self._turn()
            finally:
                await self._give_up()

    async def close(self) -> None:
        await self._give_up()
        await self._connection.close()

    async def _run(
        self, query: str, values: tuple[Any, ...], about: AbstractContextManager[Any]
    ) -> None:
        with about:
            await self._connection.execute(query, *values)

    async def _turn(self) -> None:
        if self._sent is not None:
            sent, self._sent = self._sent, None
            await sent

    async def _give_up(self) -> None:
        if self._sent is not None:
            sent, self._sent = self._sent, None
            sent.cancel()
            await asyncio.gather(sent, return_exceptions=True)
