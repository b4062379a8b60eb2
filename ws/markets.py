"""The one thing the live feed reads from Postgres: which markets there are."""

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from indexer.domain.listing import Listing
from indexer.store.listings import listing_of, select_listings

TIMEOUT_S = 5.0


POOL_SIZE = 4
"""Connections of one gateway that answer subscribers."""


def connect(database_url: str, *, pooled: bool = False) -> AsyncEngine:
    """An engine that connects on first use, and holds no connection between reads unless told."""

    async def dial() -> "asyncpg.Connection[asyncpg.Record]":
        connection = await asyncpg.connect(
            database_url,
            timeout=TIMEOUT_S,
            command_timeout=TIMEOUT_S,
            server_settings={"application_name": "tidebook-ws"},  # a pooler takes no other
        )
        await connection.execute("set default_transaction_read_only = on")
        return connection

    url = "postgresql+asyncpg://"
    if not pooled:
        return create_async_engine(url, async_creator=dial, poolclass=NullPool)
    return create_async_engine(
        url,
        async_creator=dial,
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=TIMEOUT_S,
        pool_pre_ping=True,
    )


async def read_listings(engine: AsyncEngine) -> list[Listing]:
    """Every market with its tokens, oldest first. One statement, markets' size."""
    async with engine.connect() as connection:
        return [listing_of(row) for row in await connection.execute(select_listings())]
