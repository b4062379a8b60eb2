"""Two of a kind: the second waits, and takes over when the first is no more."""

from pathlib import Path

import redis.asyncio as redis

from tests.faults.processes import running
from tests.store.chains import Chain, play
from tests.store.test_relay import assert_equal


async def test_a_second_relay_stands_by_and_takes_over_from_a_killed_one(
    recordings: Path, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    chain = Chain(recordings / "gtx_chaos.jsonl.gz", 160)
    await play(database_url, chain, chain.to(0, 140))
    streams: redis.Redis = redis.from_url(redis_url, protocol=2)
    socket = redis_url.removeprefix("unix://").partition("?")[0]
    (tmp_path / "elsewhere").symlink_to(socket)
    by_another_name = redis_url.replace(socket, str(tmp_path / "elsewhere"))
    command = ("relay", "--database-url", database_url, "--redis-url")
    await streams.flushdb()
    try:
        async with running(*command, redis_url) as first:
            await assert_equal(database_url, streams)
            async with running(*command, by_another_name) as second:
                await second.hear("another relay fills this Redis; standing by until it ends")
                await play(database_url, chain, chain.to(141, 150))
                await assert_equal(database_url, streams)
                await first.kill()
                await play(database_url, chain, chain.to(151, 160))
                await assert_equal(database_url, streams)
                assert (await second.stop()).count("\n") == 1
    finally:
        await streams.aclose()
