"""Redis at its worst, while a relay fills it."""

import random
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from indexer.wire import STREAMS, stream_key
from tests.faults.stage import CHAIN_ID, SIGKILL, Stage, relaying, stage

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS = [stream_key(CHAIN_ID, stream) for stream in STREAMS]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def on(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder = tmp_path_factory.mktemp("redis")
    async with stage(folder, random.randrange(1 << 32), websocket=False) as on:
        yield on


async def test_a_redis_that_is_killed_and_started_again(on: Stage) -> None:
    on.kill_server("valkey", SIGKILL)  # what it had not yet put on its disk is lost
    await on.relay.hear("Redis does not answer")
    await on.start_servers()
    await on.relay.hear("going on")
    await on.goes_on()
    await on.check()


async def test_a_redis_that_is_emptied(on: Stage) -> None:
    await on.redis.flushall()
    said = await on.relay.hear("Redis has lost what it held")
    assert "the streams are filled again from Postgres" in said
    await on.relay.hear("going on")
    await on.goes_on()
    await on.check()


async def test_a_redis_without_memory_refuses_and_is_waited_for(on: Stage) -> None:
    await on.redis.config_set("maxmemory", "1")  # bytes; and nothing may be evicted for us
    said = await on.relay.hear("Redis is out of memory")
    assert "OOM command not allowed" in said or "used memory > 'maxmemory'" in said
    stood = await on.told()
    await on.postgres_grows()
    assert await on.told() == stood, "what Redis refused was taken for published"
    await on.redis.config_set("maxmemory", "0")
    await on.relay.hear("going on")
    await on.goes_on()
    await on.check()


async def test_a_stream_that_was_evicted_is_filled_again(on: Stage) -> None:
    await on.redis.delete(KEYS[on.draw.randrange(len(KEYS))])
    await on.relay.hear("Redis has lost what it held")
    await on.goes_on()
    await on.check()


async def test_an_outbox_that_was_trimmed_past_the_relay(on: Stage) -> None:
    await on.relay.kill()
    stood = await on.told()
    await on.postgres_grows()
    await on.postgres.execute("delete from tidebook.outbox where seq <= $1", stood + 3)
    async with relaying(on) as on.relay:
        await on.goes_on()
        await on.check()
