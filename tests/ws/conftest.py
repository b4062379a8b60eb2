"""A gateway over a database with one market and a Valkey database of its own."""

from collections.abc import AsyncIterator

import pytest

from tests.ws.served import CHAIN_ID, Chain, serving
from ws.app import Config


@pytest.fixture
async def chain(database_url: str, redis_url: str) -> AsyncIterator[Chain]:
    """A chain with the market WETH-USDC."""
    chain = Chain(database_url, redis_url)
    await chain.redis.flushdb()
    await chain.list_market()
    yield chain
    await chain.close()


@pytest.fixture
async def kept(database_url: str, redis_url: str) -> AsyncIterator[Chain]:
    """The same with an outbox and current state in Postgres."""
    chain = Chain(database_url, redis_url, kept=True)
    await chain.redis.flushdb()
    await chain.list_market()
    yield chain
    await chain.close()


@pytest.fixture
def config(chain: Chain, database_url: str, redis_url: str) -> Config:
    return Config(database_url, redis_url, CHAIN_ID)


@pytest.fixture
async def gateway(config: Config) -> AsyncIterator[str]:
    """A gateway's `host:port`, once it reads Redis."""
    async with serving(config) as address:
        yield address
