"""Writer and relay are killed at any moment, under load and reorgs, and others take their place."""

import random
from contextlib import AsyncExitStack
from pathlib import Path

from tests.faults.stage import relaying, stage, writing

KILLS = 3


async def test_killed_at_any_moment_nothing_is_lost_or_told_twice(tmp_path: Path) -> None:
    async with stage(tmp_path, random.randrange(1 << 32)) as on, AsyncExitStack() as opened:
        for _ in range(KILLS):
            writer = await opened.enter_async_context(writing(on))
            relay = await opened.enter_async_context(relaying(on))
            await writer.hear("another writer of this chain is at work; standing by")
            await relay.hear("another relay fills this Redis; standing by")
            for _ in range(on.draw.randint(1, 30)):  # whatever they are about then
                await on.told()
            await (on.writer if on.draw.random() < 0.5 else on.relay).kill()
            for _ in range(on.draw.randint(0, 10)):
                await on.told()
            await on.writer.kill()
            await on.relay.kill()
            on.writer, on.relay = writer, relay
            await on.goes_on()
        await on.check()
        assert on.reorgs > 0
