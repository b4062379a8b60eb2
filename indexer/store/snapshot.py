"""One request reads one snapshot: a single read-only, repeatable-read transaction."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
from sqlalchemy import Row, Select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.sql.selectable import TextualSelect


def connect(
    database_url: str,
    pool_size: int,
    pool_timeout_s: float,
    *,
    reader: str = "tidebook-reader",
    statement_timeout_ms: int = 5_000,
) -> AsyncEngine:
    """An engine whose every transaction is read-only and repeatable-read. Connects on first use.

    `reader` is what Postgres calls its connections; no statement runs longer than the timeout.
    The URL goes to asyncpg as it is, so everything libpq's form allows works, unix sockets too.
    """

    async def dial() -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(
            database_url,
            server_settings={
                "application_name": reader,
                "statement_timeout": str(statement_timeout_ms),
            },
        )

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=dial,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=pool_timeout_s,
        pool_pre_ping=True,
        isolation_level="REPEATABLE READ",
        execution_options={"postgresql_readonly": True},
    )


class Snapshot:
    """The database as one request sees it, whatever the writer commits meanwhile.

    Opened by the first read, so that a request that reads nothing costs no connection. GraphQL
    resolves roots concurrently and a connection does one thing at a time: hence the lock.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._lock = asyncio.Lock()
        self._connection: AsyncConnection | None = None
        self.statements = 0
        """Statements run so far; tests count them."""

    async def read(
        self, statement: Select[Any] | TextualSelect, values: dict[str, Any] | None = None
    ) -> Sequence[Row[Any]]:
        """All rows of one statement; `values` of its named parameters."""
        async with self._lock:
            if self._connection is None:
                self._connection = await self._engine.connect()
            self.statements += 1
            result = await self._connection.execute(statement, values)
            rows: Sequence[Row[Any]] = result.all()
            return rows

    async def close(self) -> None:
        """End the transaction and give the connection back."""
        async with self._lock:
            if self._connection is not None:
                await self._connection.close()
                self._connection = None
