"""The one thing the live feed reads from Postgres: which markets there are."""

import asyncpg
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from indexer.store.tables import markets, tokens
from ws.channels import Listing

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
    """Every market with its tokens' decimals, oldest first. One statement, markets' size."""
    base, quote = tokens.alias("base_token"), tokens.alias("quote_token")
    statement = (
        select(markets.c.address, markets.c.symbol, base.c.decimals, quote.c.decimals)
        .join_from(markets, base, base.c.address == markets.c.base)
        .join(quote, quote.c.address == markets.c.quote)
        .order_by(markets.c.created_block, markets.c.created_log_index)
    )
    async with engine.connect() as connection:
        return [Listing(*tuple(row)) for row in await connection.execute(statement)]
