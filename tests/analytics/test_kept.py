"""The tables that are kept: told by messages or folded from facts, the rows are the same."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema_rs
import msgspec
import pytest
import redis.asyncio as redis

from analytics import asyncapi, limits, market_reads, reads
from analytics.announce import Announcer, Restatement, restatements_key
from analytics.app import Config
from analytics.books import TopRow
from analytics.consumer import GROUP, Consumer
from analytics.kept import Keeper, Misfit
from indexer.relay import relay
from indexer.store import postgres
from indexer.store.snapshot import Snapshot, connect
from indexer.wire import Message, stream_key
from tests.analytics.served import serving
from tests.outbox import outbox
from tests.store.chains import Chain, play

FIRST, FORK, LAST = 230, 250, 270
STARTS = (-1, FIRST - 9, FORK + 3)


@pytest.fixture(scope="module")
def chain(recordings: Path) -> Chain:
    return Chain(recordings / "gtx_main.jsonl.gz", LAST)


@contextlib.asynccontextmanager
async def keeper_of(database_url: str) -> AsyncIterator[Keeper]:
    connection = await postgres.connect(database_url)
    try:
        keeper = Keeper(connection)
        await keeper.load()
        yield keeper
    finally:
        await connection.close()


async def rows(database_url: str) -> list[str]:
    connection = await postgres.connect(database_url)
    try:
        query = "select x::text from tidebook.analytics_tops x order by market, block_number"
        return [row["x"] for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def told(database_url: str) -> list[Message]:
    connection = await postgres.connect(database_url)
    try:
        found = [
            msgspec.json.decode(line.message, type=Message) for line in await outbox(connection)
        ]
        return [message for message in found if message.stream == "depth"]
    finally:
        await connection.close()


async def begin(database_url: str, chain: Chain) -> None:
    """The tables as of block FIRST, and behind them a reorg that nobody has folded yet."""
    await play(database_url, chain, chain.to(0, FIRST))
    async with keeper_of(database_url):
        pass
    await play(
        database_url,
        chain,
        [*chain.to(FIRST + 1, FORK + 10), chain.back_to(FORK)],
        [*chain.to(FORK + 1, LAST), chain.finalize(FORK)],
    )


async def rebuilt(database_url: str) -> list[str]:
    async with keeper_of(database_url) as keeper:
        await keeper.rebuild()
    return await rows(database_url)


async def test_a_reorg_a_kill_and_a_resend_leave_what_a_rebuild_makes(
    database_url: str, chain: Chain
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201
    pick = random.Random(seed)
    await begin(database_url, chain)
    messages = await told(database_url)
    assert {one.op for one in messages} >= {"apply", "retract", "promote"}
    at = 0
    while at < len(messages):
        async with keeper_of(database_url) as keeper:  # a new life each time
            begin_at = max(0, at - pick.randrange(4))  # and some of it again
            at = min(len(messages), at + pick.randrange(1, 40))
            await keeper.apply(messages[begin_at:at])
    kept = await rows(database_url)
    assert kept == await rebuilt(database_url)
    assert len(kept) > 20


async def read(database_url: str) -> tuple[bool, list[list[TopRow]]]:
    """Whether the rows that are kept are read, and what is read of each market."""
    engine = connect(database_url, 1, 5.0)
    snapshot = Snapshot(engine)
    try:
        listings = await reads.new_listings(snapshot, -1, LAST)
        first = listings[0].market.address
        kept = await market_reads.kept_markets(snapshot, [first])
        return bool(kept), [
            await market_reads.tops(snapshot, one, start, LAST)
            for one in listings
            for start in STARTS
        ]
    finally:
        await snapshot.close()
        await engine.dispose()


async def test_a_rebuild_goes_by_pages_that_leave_no_trace(
    database_url: str, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A market's whole past was held at once, and nobody answered while it was folded."""
    await begin(database_url, chain)
    at_once = await rebuilt(database_url)
    monkeypatch.setattr(limits, "REBUILT_CHANGES", 3)
    sizes: list[int] = []
    insert = Keeper._insert

    async def watch(self: Keeper, made: Sequence[TopRow]) -> None:
        sizes.append(len(made))
        await insert(self, made)

    monkeypatch.setattr(Keeper, "_insert", watch)
    assert await rebuilt(database_url) == at_once
    assert sum(sizes) == len(at_once)
    assert max(sizes) <= 3


async def test_readers_find_the_same_rows_kept_or_folded(database_url: str, chain: Chain) -> None:
    await begin(database_url, chain)
    behind, folded = await read(database_url)
    await rebuilt(database_url)
    level, kept = await read(database_url)
    assert (behind, level) == (False, True)
    assert kept[:: len(STARTS)] == folded[:: len(STARTS)]  # from the first
    assert list(map(plain, kept)) == list(map(plain, folded))
    assert any(len(one) > 1 for one in kept)


@pytest.mark.parametrize("kept", [True, False])
async def test_a_chain_longer_than_a_process_may_remember_is_told_all_the_same(
    database_url: str, chain: Chain, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    await begin(database_url, chain)
    if kept:
        await rebuilt(database_url)
    connection = await postgres.connect(database_url)
    account = await connection.fetchval("select maker from tidebook.trades limit 1")
    await connection.close()
    portfolio = f"/api/portfolio/{account}"
    paths = [
        *("/api/market/overview?period=all", "/api/market/overview", portfolio),
        *("/api/market/volume?period=all", "/api/market/symbol/WETH-USDC?period=all"),
        *(f"{portfolio}?mark=last", f"{portfolio}/pnl?method=hifo", f"{portfolio}/performance"),
        *(f"{portfolio}/equity?interval=block&limit=50", "/api/leaderboard/pnl/24h"),
    ]
    whole = await answers(database_url, chain, paths)
    monkeypatch.setattr("analytics.limits.MAX_REMEMBERED_ROWS", 20)
    monkeypatch.setattr("analytics.limits.PAGE_ROWS", 7)
    assert await answers(database_url, chain, paths) == whole


async def answers(database_url: str, chain: Chain, paths: list[str]) -> list[Any]:
    """Of a process that has just begun, each path asked for twice."""
    config = Config(database_url, chain.deployment.chain_id)
    found = []
    async with serving(config) as url, aiohttp.ClientSession() as session:
        for path in paths * 2:
            async with session.get(url + path) as response:
                assert response.status == 200, await response.text()
                found.append(await response.json())
    return found


def plain(rows: list[TopRow]) -> list[TopRow]:
    """Without what only a first row folded from the middle says otherwise."""
    first = [row._replace(block_number=0, timestamp=0, order_flow=0) for row in rows[:1]]
    return first + rows[1:]


async def test_a_reorg_is_published_as_a_restatement(database_url: str, chain: Chain) -> None:
    await begin(database_url, chain)
    config = Config(database_url, chain.deployment.chain_id)
    async with (
        serving(config) as url,
        aiohttp.ClientSession() as session,
        session.get(f"{url}/api/restatements") as response,
    ):
        (one,) = (await response.json())["restatements"]
    assert (one["first"], one["last"], one["depth"]) == (FORK + 1, FORK + 10, 10)


async def test_a_missing_message_does_not_fit_and_writes_nothing(
    database_url: str, chain: Chain
) -> None:
    await begin(database_url, chain)
    messages = await told(database_url)
    async with keeper_of(database_url) as keeper:
        fresh = [one for one in messages if one.seq > keeper.seq]
        market = fresh[0].market
        later = [one for one in fresh[1:] if one.market == market]
        before = await rows(database_url)
        with pytest.raises(Misfit, match="missing"):
            await keeper.apply(later)
        assert await rows(database_url) == before


async def test_the_consumer_group_keeps_up_and_takes_over_what_a_killed_one_held(
    database_url: str, redis_url: str, chain: Chain
) -> None:
    await begin(database_url, chain)
    streams: Any = redis.from_url(redis_url, protocol=2)
    await streams.flushdb()
    moving = asyncio.create_task(relay(database_url, redis_url))
    key = stream_key(chain.deployment.chain_id, "depth")
    last = (await told(database_url))[-1].seq
    async with asyncio.timeout(10):
        while not await streams.exists(key):
            await asyncio.sleep(0.01)
    await streams.xgroup_create(key, GROUP, id="0")
    taken = await streams.xreadgroup(GROUP, "killed", {key: ">"}, count=7)
    assert taken
    consumer = Consumer(database_url, redis_url, chain.deployment.chain_id)
    keeping = asyncio.create_task(consumer.run())
    connection = await postgres.connect(database_url)
    async with asyncio.timeout(10):
        await consumer.keeping.wait()
        while await connection.fetchval("select seq from tidebook.analytics_cursor") < last:
            await asyncio.sleep(0.01)
        while (await streams.xpending(key, GROUP))["pending"]:
            await asyncio.sleep(0.01)
    kept = await rows(database_url)
    published = await restatements(streams, chain, last)
    keeping.cancel()
    moving.cancel()
    await asyncio.wait({keeping, moving})
    await connection.close()
    await streams.aclose()
    assert kept == await rebuilt(database_url)
    assert published == await retracted(database_url)


async def restatements(streams: Any, chain: Chain, last: int) -> list[tuple[Any, ...]]:
    """What the stream says, also when the reorg is told to it once more."""
    key = restatements_key(chain.deployment.chain_id)
    async with asyncio.timeout(10):
        while (await streams.xpending(stream_key(chain.deployment.chain_id, "system"), GROUP))[
            "pending"
        ] or not await streams.exists(key):
            await asyncio.sleep(0.01)
    found = [
        msgspec.json.decode(one[b"m"], type=Restatement) for _, one in await streams.xrange(key)
    ]
    assert all(one.new == chain.advances[FORK].block.ref for one in found)
    assert len({one.epoch for one in found}) == 1
    return sorted(
        (one.figure, one.market or one.account, one.first, one.old and one.old.number)
        for one in found
    )


def test_the_asyncapi_document_is_that_of_the_entries() -> None:
    """Else: python -m analytics.asyncapi > analytics/asyncapi.json."""
    written = Path(asyncapi.__file__).with_suffix(".json").read_text()
    assert written == asyncapi.text() + "\n"


async def retracted(database_url: str) -> list[tuple[Any, ...]]:
    """What the blocks that went had told, channel by channel."""
    connection = await postgres.connect(database_url)
    blocks: dict[tuple[str, str], list[int]] = {}
    figures = {"depth": "book", "trades": "trades", "balances": "portfolio", "orders": "orders"}
    for line in await outbox(connection):
        message = msgspec.json.decode(line.message, type=Message)
        if message.op == "retract" and message.stream in figures:
            name = line.channel.partition(":")[2]
            blocks.setdefault((figures[message.stream], name), []).append(message.block.number)
    await connection.close()
    assert len({figure for figure, _ in blocks}) == len(figures)
    return sorted((*of, min(numbers), max(numbers)) for of, numbers in blocks.items())


async def test_a_reorg_told_twice_is_announced_once(
    database_url: str, redis_url: str, chain: Chain
) -> None:
    await begin(database_url, chain)
    streams: Any = redis.from_url(redis_url, protocol=2)
    await streams.flushdb()
    connection = await postgres.connect(database_url)
    told_ = [
        msgspec.json.decode(line.message, type=Message)
        for line in await outbox(connection)
        if line.channel == "system"
    ]
    announcer = Announcer(connection, streams, chain.deployment.chain_id)
    key = restatements_key(chain.deployment.chain_id)
    await announcer.apply(told_)
    once = await streams.xrange(key)
    await announcer.apply(told_)
    assert await streams.xrange(key) == once
    components = asyncapi.document()["components"]
    schema = {**components["messages"]["restatement"]["payload"], "components": components}
    valid = jsonschema_rs.validator_for(schema)
    assert [valid.is_valid(msgspec.json.decode(one[b"m"])) for _, one in once] == [True] * len(once)
    assert not valid.is_valid({"figure": "volume"})
    assert once
    await connection.close()
    await streams.aclose()
