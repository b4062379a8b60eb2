"""The tail: seven streams read as one, in the order of seq."""

import asyncio

from indexer.store.tail import READ_ENTRIES, Tail
from indexer.wire import Message
from tests.ws.served import CHAIN_ID, Chain


async def test_streams_are_told_in_one_order_however_far_behind(
    chain: Chain, redis_url: str
) -> None:
    """More trades than one look takes lie before the reorg: it is not told before them."""
    told: list[Message] = []
    level = asyncio.Event()

    async def take(messages: list[Message]) -> None:
        told.extend(messages)
        if told[-1].seq == chain.seq:
            level.set()

    async def no_other() -> None:
        raise AssertionError("another history")

    await chain.trade(1)
    tail = Tail(redis_url, CHAIN_ID, take, no_other)
    for event in ("reorg.begin", "reorg.end"):
        for _ in range(READ_ENTRIES + 100):
            await chain.trade(1, relayed=False)
        await chain.publish("system", "system", {"event": event}, None, relayed=False)
    running = asyncio.create_task(tail.run())
    await asyncio.wait_for(tail.positioned.wait(), 5)
    await chain.relay_all()
    await asyncio.wait_for(level.wait(), 5)
    running.cancel()
    assert [message.seq for message in told] == list(range(2, chain.seq + 1))
