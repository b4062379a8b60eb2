"""The relay: every message once, whatever happens to it or to Redis."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis.asyncio as redis

from indexer import relay as relay_module
from indexer.relay import PostgresOutbox, RedisChanged, RedisStreams, identity, relay
from indexer.store import postgres
from indexer.store.writer import open_store
from indexer.wire import STREAMS, stream_key
from tests.store.chains import Chain, messages, play

CHAIN_ID = 31337
A_NODE = 100
"""Entries of a stream that Redis keeps, and drops, together."""


@pytest.fixture(scope="module")
def chain(recordings: Path) -> Chain:
    return Chain(recordings / "gtx_chaos.jsonl.gz", 190)


@pytest.fixture
async def streams(redis_url: str) -> AsyncIterator["redis.Redis"]:
    client: redis.Redis = redis.from_url(redis_url, protocol=2)
    await client.flushdb()
    yield client
    await client.aclose()


@asynccontextmanager
async def relaying(database_url: str, redis_url: str) -> AsyncIterator[None]:
    """A relay at work; it is cut off at an arbitrary await when the block ends."""
    task = asyncio.create_task(relay(database_url, redis_url))
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def entries(client: "redis.Redis") -> list[tuple[int, str]]:
    """Everything in all streams by seq: (seq, message)."""
    found: list[tuple[int, str]] = []
    for stream in STREAMS:
        kept: Any = await client.xrange(stream_key(CHAIN_ID, stream))
        for entry_id, fields in kept:
            found.append((int(entry_id.split(b"-")[0]), fields[b"m"].decode()))
    return sorted(found)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():
            await asyncio.sleep(0.01)


async def outbox(database_url: str) -> list[tuple[int, Any]]:
    return [(message["seq"], message) for message in await messages(database_url)]


async def assert_equal(database_url: str, client: "redis.Redis") -> None:
    """Redis gets to hold the outbox, entry by entry."""
    wanted = await outbox(database_url)

    async def level() -> bool:
        return len(await entries(client)) >= len(wanted)

    await until(level)
    assert [(seq, json.loads(text)) for seq, text in await entries(client)] == wanted


async def test_what_the_writer_commits_is_told_at_once(
    chain: Chain, database_url: str, redis_url: str, streams: "redis.Redis"
) -> None:
    await play(database_url, chain, chain.to(0, 140))
    async with relaying(database_url, redis_url):
        await assert_equal(database_url, streams)
        await play(database_url, chain, chain.to(141, 160), [chain.back_to(150)])
        await assert_equal(database_url, streams)


async def test_relays_that_are_cut_off_anywhere_double_nothing(
    chain: Chain, database_url: str, redis_url: str, streams: "redis.Redis"
) -> None:
    await play(database_url, chain, chain.to(0, 190))
    for pause_ms in range(0, 120, 10):
        async with relaying(database_url, redis_url):
            await asyncio.sleep(pause_ms / 1000)  # where it is then is the point
    async with relaying(database_url, redis_url):
        await assert_equal(database_url, streams)


async def test_a_redis_that_was_emptied_is_filled_from_postgres(
    chain: Chain, database_url: str, redis_url: str, streams: "redis.Redis"
) -> None:
    await play(database_url, chain, chain.to(0, 160))
    async with relaying(database_url, redis_url):
        await assert_equal(database_url, streams)
    await streams.flushdb()
    async with relaying(database_url, redis_url):
        await assert_equal(database_url, streams)


async def test_a_redis_that_is_emptied_under_a_relay_ends_it_and_the_next_one_fills_it(
    chain: Chain, database_url: str, redis_url: str, streams: "redis.Redis"
) -> None:
    await play(database_url, chain, chain.to(0, 160))
    task = asyncio.create_task(relay(database_url, redis_url))
    await assert_equal(database_url, streams)
    await streams.flushdb()
    await play(database_url, chain, chain.to(161, 165))
    with pytest.raises(RedisChanged, match="it was emptied or failed over"):
        await asyncio.wait_for(task, 20)
    async with relaying(database_url, redis_url):
        await assert_equal(database_url, streams)


async def test_a_stream_that_was_evicted_is_not_added_to_and_the_next_relay_fills_it(
    chain: Chain,
    database_url: str,
    redis_url: str,
    streams: "redis.Redis",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await play(database_url, chain, chain.to(0, 160))
    async with relaying(database_url, redis_url):
        await assert_equal(database_url, streams)
    await streams.delete(stream_key(CHAIN_ID, "orders"))
    await play(database_url, chain, chain.to(161, 170))
    left = await entries(streams)
    with monkeypatch.context() as patched:
        patched.setattr(RedisStreams, "position", _position)
        with pytest.raises(RedisChanged, match=r"not those that we filled.*'orders': '0-0'"):
            await relay(database_url, redis_url)
    assert await entries(streams) == left
    async with relaying(database_url, redis_url):
        await assert_equal(database_url, streams)


async def test_what_redis_has_already_is_refused(
    chain: Chain, database_url: str, redis_url: str, streams: "redis.Redis"
) -> None:
    await play(database_url, chain, chain.to(0, 160))
    async with relaying(database_url, redis_url):
        await assert_equal(database_url, streams)
    connection = await postgres.connect(database_url)
    epoch = await connection.fetchval("select epoch from tidebook.cursors")
    batch = await PostgresOutbox(connection, epoch).after(0, 10)
    await connection.close()
    assert batch is not None
    assert batch.first == 1
    assert batch.last == batch.messages >= 10
    assert batch.lines.count(b"\n") == batch.messages - 1
    with pytest.raises(RedisChanged, match="the streams stood at seq 0"):
        await RedisStreams(streams, CHAIN_ID, epoch).publish(batch, 0)
    await assert_equal(database_url, streams)


async def test_a_stream_that_was_evicted_is_missed_also_while_nothing_is_told(
    chain: Chain,
    database_url: str,
    redis_url: str,
    streams: "redis.Redis",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Seed 1489: nobody published any more, so nobody looked."""
    monkeypatch.setattr(relay_module, "WAKE_S", 0.05)
    await play(database_url, chain, chain.to(0, 160))
    task = asyncio.create_task(relay(database_url, redis_url))
    await assert_equal(database_url, streams)
    await streams.delete(stream_key(CHAIN_ID, "orders"))
    with pytest.raises(RedisChanged, match="not those that we filled"):
        await asyncio.wait_for(task, 20)
    async with relaying(database_url, redis_url):
        await assert_equal(database_url, streams)


async def _position(streams: RedisStreams) -> int:
    """As of a relay that looked before the stream was evicted."""
    return int((await streams._redis.hgetall(streams._position_key))[b"seq"])


async def test_an_outbox_trimmed_past_the_relay_is_told_from_what_is_kept(
    chain: Chain, database_url: str, redis_url: str, streams: "redis.Redis"
) -> None:
    await play(database_url, chain, chain.to(0, 140))
    async with relaying(database_url, redis_url):
        await assert_equal(database_url, streams)
    await play(database_url, chain, chain.to(141, 180))
    connection = await asyncpg.connect(database_url)
    await connection.execute("delete from tidebook.outbox where block_number < 160")
    await connection.close()
    async with relaying(database_url, redis_url):
        wanted = await outbox(database_url)

        async def replaced() -> bool:
            return [seq for seq, _ in await entries(streams)] == [seq for seq, _ in wanted]

        await until(replaced)


async def test_a_stream_keeps_the_newest_messages_up_to_its_limit(
    chain: Chain,
    database_url: str,
    redis_url: str,
    streams: "redis.Redis",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    most = 40
    monkeypatch.setattr(relay_module, "STREAM_MAX_MESSAGES", most)
    await play(database_url, chain, chain.to(0, 190))
    wanted = await outbox(database_url)

    async def told() -> bool:
        return [(seq, json.loads(text)) for seq, text in await entries(streams)][-1:] == wanted[-1:]

    async with relaying(database_url, redis_url):
        await until(told)
    found = [(seq, json.loads(text)) for seq, text in await entries(streams)]
    assert len(found) < len(wanted)
    for stream in STREAMS:
        kept = [one for one in found if one[1]["stream"] == stream]
        all_ = [one for one in wanted if one[1]["stream"] == stream]
        assert min(most, len(all_)) <= len(kept) < most + A_NODE
        assert kept == all_[-len(kept) :]


async def test_the_streams_of_another_history_go(
    chain: Chain,
    database_url: str,
    other_database_url: str,
    redis_url: str,
    streams: "redis.Redis",
) -> None:
    await play(database_url, chain, chain.to(0, 160))
    await play(other_database_url, chain, chain.to(0, 130))
    async with relaying(database_url, redis_url):
        await assert_equal(database_url, streams)
    async with relaying(other_database_url, redis_url):
        wanted = await outbox(other_database_url)

        async def replaced() -> bool:
            return len(await entries(streams)) == len(wanted)

        await until(replaced)
        await assert_equal(other_database_url, streams)


async def test_a_relay_that_is_told_to_stop_as_news_arrives_stops(database_url: str) -> None:
    connection = await postgres.connect(database_url)
    try:
        for turns in range(8):
            outbox = PostgresOutbox(connection, "")  # has news at once: its first wait returns
            task = asyncio.create_task(forever(outbox))
            await outbox_listens(outbox)
            for _ in range(turns):
                await asyncio.sleep(0)
            outbox._news.set()
            await asyncio.sleep(0)
            task.cancel()
            async with asyncio.timeout(5):
                await asyncio.gather(task, return_exceptions=True)
            assert task.cancelled()
    finally:
        await connection.close()


async def forever(outbox: PostgresOutbox) -> None:
    while True:
        await outbox.wait(60.0)


async def outbox_listens(outbox: PostgresOutbox) -> None:
    while not outbox._listens:
        await asyncio.sleep(0.001)


async def test_a_new_epoch_of_the_writer_empties_the_streams_and_fills_them(
    chain: Chain, database_url: str, redis_url: str, streams: "redis.Redis"
) -> None:
    await play(database_url, chain, chain.to(0, 160))
    async with relaying(database_url, redis_url):
        wanted = len(await outbox(database_url))

        async def complete() -> bool:
            return len(await entries(streams)) == wanted

        await until(complete)
        store = await open_store(database_url, chain.deployment)
        await store.load()
        (first,) = await store.grounds()
        await store.restart(first)
        await store.close()

        async def emptied() -> bool:
            return len(await entries(streams)) == 1

        await until(emptied)
    ((_, message),) = await entries(streams)
    assert json.loads(message)["data"]["event"] == "restart"


async def test_a_redis_is_the_same_by_any_name_until_it_is_emptied(redis_url: str) -> None:
    one, other = (redis.from_url(redis_url, protocol=2) for _ in range(2))
    try:
        await one.flushdb()
        which = await identity(one, 1)
        assert which == await identity(other, 1) == await identity(one, 1)
        assert which != await identity(one, 2)
        await one.flushdb()
        assert await identity(other, 1) not in (which, "")
    finally:
        await one.aclose()
        await other.aclose()
