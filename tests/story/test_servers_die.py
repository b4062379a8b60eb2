"""The story of a bad day: the servers under a market are killed, one after the other."""

import functools
import os
import signal
from typing import Any

import asyncpg
import redis.asyncio as redis
from redis.exceptions import RedisError

from indexer.wire import STREAMS, stream_key
from tests.outbox import outbox
from tests.story.market import Market, clean_run, gone, level_with, until

CHAIN_ID = 31337


async def test_killed_servers_come_back_and_nothing_is_lost(
    market: Market, database_url: str
) -> None:
    said = await market.start()
    urls = dict(line.split() for line in said.splitlines() if "://" in line)
    before = await market.status()

    for kind in ("postgres", "valkey"):
        relayed = await relayed_to(urls["Redis"])
        os.kill(market.server(kind), signal.SIGKILL)
        told = await market.hear(f"tidebook: {kind.capitalize()} has ended")
        assert "starting it again" in told.splitlines()[-1]
        await until(
            functools.partial(has_news, urls["Redis"], relayed), f"news after the end of {kind}"
        )

    await market.rpc("evm_setIntervalMining", 0)
    await until(lambda: level_with(market), "the writer to reach the head")
    after = await market.status()
    assert (after["epoch"], after["reorgs"]) == (before["epoch"], 0)
    export = await market.export()
    assert export == await clean_run(market, export["block"]["number"], database_url)
    await until(lambda: has_news(urls["Redis"], after["seq"] - 1), "the relay to be level")
    assert await in_streams(urls["Redis"]) == await in_outbox(urls["Postgres"])
    assert await market.indexed() == export["block"]["number"]

    assert await market.stop(signal.SIGINT) == 0
    assert await gone(market), market.processes()


async def relayed_to(redis_url: str) -> int:
    """The newest seq that is in the streams."""
    client: Any = redis.from_url(redis_url, protocol=2)
    try:
        return int(await client.hget(f"tidebook:{CHAIN_ID}:relay", "seq") or 0)
    finally:
        await client.aclose()


async def has_news(redis_url: str, seq: int) -> bool:
    try:
        return await relayed_to(redis_url) > seq
    except (RedisError, OSError):
        return False


async def in_streams(redis_url: str) -> list[tuple[int, str]]:
    """Every seq with its message."""
    client: Any = redis.from_url(redis_url, protocol=2)
    try:
        entries = [
            (int(id_.split(b"-")[0]), fields[b"m"].decode())
            for stream in STREAMS
            for id_, fields in await client.xrange(stream_key(CHAIN_ID, stream))
        ]
    finally:
        await client.aclose()
    return sorted(entries)


async def in_outbox(database_url: str) -> list[tuple[int, str]]:
    connection = await asyncpg.connect(database_url)
    try:
        return [(line.seq, line.message.decode()) for line in await outbox(connection)]
    finally:
        await connection.close()
