"""A connection on which a statement may still be under way while the next is made ready.

Postgres answers in the order of the questions, so whoever asks next waits for what was sent before;
an error of that shows there, or at the latest before the commit. What a block writes is gathered
and sent as few statements (store/together.py): each that goes by itself costs the block a quarter
of a millisecond of nothing but talking.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from indexer.store import postgres
from indexer.store.rejected import naming
from indexer.store.together import Part, together


class Queue:
    """One asyncpg connection, of which the writer's statements take turns."""

    def __init__(self, connection: postgres.Connection) -> None:
        self._connection = connection
        self._gathered: list[Part] = []
        self._sent: asyncio.Task[Any] | None = None

    async def gather(self, part: Part) -> None:
        """Keep a part for `forward`. One that must not go with those before it sends them."""
        if any(part.collides(other) for other in self._gathered):
            await self.forward()
        self._gathered.append(part)

    async def forward(self) -> None:
        """Send what was gathered as one statement, and do not wait until it is done."""
        if not self._gathered:
            return
        parts, self._gathered = self._gathered, []
        await self._done()
        self._sent = asyncio.create_task(self._run(parts))
        await asyncio.sleep(0)  # now it is on its way

    async def execute(self, query: str, *values: Any) -> str:
        await self._turn()
        return await self._connection.execute(query, *values)

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
        """Commits when all that was gathered and sent is done. Nobody waits for its beginning."""
        await self._turn()
        transaction = self._connection.transaction(**options)
        beginning = self._sent = asyncio.create_task(transaction.start())
        try:
            await asyncio.sleep(0)  # now it is on its way
            yield
            await self._turn()
        except BaseException:
            await asyncio.wait({beginning})
            await self._give_up()
            if not beginning.cancelled() and beginning.exception() is None:
                await transaction.rollback()
            raise
        await transaction.commit()

    async def close(self) -> None:
        await self._give_up()
        await self._connection.close()

    async def _run(self, parts: list[Part]) -> None:
        with naming(*((part.table, part.rows) for part in parts)):
            query = together(tuple(part.query for part in parts))
            await self._connection.execute(query, *(v for part in parts for v in part.values))

    async def _turn(self) -> None:
        await self.forward()
        await self._done()

    async def _done(self) -> None:
        if self._sent is not None:
            sent, self._sent = self._sent, None
            await sent

    async def _give_up(self) -> None:
        self._gathered = []
        if self._sent is not None:
            sent, self._sent = self._sent, None
            sent.cancel()
            await asyncio.gather(sent, return_exceptions=True)
