"""Two of a kind: the second waits, and takes over when the first is no more."""

from pathlib import Path

import pytest
import redis.asyncio as redis

from indexer.relay import place
from tests.faults.processes import running
from tests.store.chains import Chain, play
from tests.store.test_relay import assert_equal


async def test_a_second_relay_stands_by_and_takes_over_from_a_killed_one(
    recordings: Path, database_url: str, redis_url: str
) -> None:
    chain = Chain(recordings / "gtx_chaos.jsonl.gz", 160)
    await play(database_url, chain, chain.to(0, 140))
    streams: redis.Redis = redis.from_url(redis_url, protocol=2)
    command = ("relay", "--database-url", database_url, "--redis-url", redis_url)
    await streams.flushdb()
    try:
        async with running(*command) as first:
            await assert_equal(database_url, streams)
            async with running(*command) as second:
                await second.hear("another relay fills this Redis; standing by until it ends")
                await play(database_url, chain, chain.to(141, 150))
                await assert_equal(database_url, streams)
                await first.kill()
                await play(database_url, chain, chain.to(151, 160))
                await assert_equal(database_url, streams)
                assert (await second.stop()).count("\n") == 1
    finally:
        await streams.aclose()


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("redis://me:secret@a:6379/0", "redis://a"),
        ("rediss://a/3", "redis://other@a?db=3"),
        ("unix:///run/valkey.sock?db=0", "unix:///run/valkey.sock"),
    ],
)
def test_the_same_redis_has_one_relay_however_it_is_named(url: str, same: str) -> None:
    assert place(url) == place(same)
    assert place(url) not in {place("redis://a/1"), place("redis://a:6380"), place("unix:///b")}
