"""The one thing the live feed reads from Postgres: which markets there are."""

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from indexer.domain.listing import Listing
from indexer.store.listings import listing_of, select_listings

TIMEOUT_S = 5.0


def connect(database_url: str) -> AsyncEngine:
    """An engine that holds no connection between reads. Connects on first use."""

    async def dial() -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(
            database_url,
            timeout=TIMEOUT_S,
            command_timeout=TIMEOUT_S,
            server_settings={
                "application_name": "tidebook-ws",
                "default_transaction_read_only": "on",
            },
        )

    return create_async_engine("postgresql+asyncpg://", async_creator=dial, poolclass=NullPool)


async def read_listings(engine: AsyncEngine) -> list[Listing]:
    """Every market with its tokens, oldest first. One statement, markets' size."""
    async with engine.connect() as connection:
        return [listing_of(row) for row in await connection.execute(select_listings())]
