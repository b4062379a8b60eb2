"""The newest message of each channel: saved now and then, and known at any time."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from indexer import wire
from indexer.domain.block import Block
from indexer.domain.step import Advance, Step
from indexer.domain.units import Hash
from indexer.store import postgres, transaction
from indexer.store.writer import open_store
from migrations import history
from tests.outbox import outbox
from tests.store.chains import Chain, messages, play

LAST = 200


@pytest.fixture(scope="module")
def chain(recordings: Path) -> Chain:
    return Chain(recordings / "gtx_chaos.jsonl.gz", LAST)


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[postgres.Connection]:
    connection = await postgres.connect(database_url)
    yield connection
    await connection.close()


def story(chain: Chain) -> list[Sequence[Step]]:
    """Blocks, a reorg, and what becomes final."""
    return [
        chain.to(0, 150),
        [chain.back_to(145), *chain.to(146, 160)],
        [chain.finalize(140)],
        [*chain.to(161, 190), chain.finalize(180)],
        chain.to(191, LAST),
        [chain.finalize(LAST - 5)],
    ]


def linked(told: list[dict[str, Any]]) -> list[tuple[int, int, str, Any]]:
    return [(one["seq"], one["prev_seq"], one["stream"], one["data"]) for one in told]


async def newest(connection: postgres.Connection) -> dict[str, int]:
    """By all messages there are, none trimmed."""
    return {line.channel: line.seq for line in await outbox(connection)}


async def channels(connection: postgres.Connection) -> dict[str, int]:
    return dict(map(tuple, await connection.fetch("select * from tidebook.channels")))


async def saved(connection: postgres.Connection) -> tuple[int, int]:
    """As of which seq the newest are saved, and the newest of them."""
    most = "select max(seq) from tidebook.links"
    as_of = await connection.fetchval("select linked_seq from tidebook.cursors")
    return as_of, await connection.fetchval(most) or 0


@pytest.mark.parametrize("every", [1, 40, 1_000_000], ids=["always", "often", "never"])
async def test_a_life_that_ends_between_two_savings_is_continued_number_by_number(
    every: int,
    chain: Chain,
    connection: postgres.Connection,
    database_url: str,
    other_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transaction, "LINKS_EVERY_MESSAGES", every)
    for batch in story(chain):
        await play(database_url, chain, batch)
        assert await channels(connection) == await newest(connection)
        as_of, most = await saved(connection)
        assert (most == as_of) == (most > 0 or every == 1_000_000)
    monkeypatch.setattr(transaction, "LINKS_EVERY_MESSAGES", 1_000_000)
    await play(other_database_url, chain, *story(chain))
    told = linked(await messages(other_database_url))
    assert linked(await messages(database_url)) == told
    as_of, _ = await saved(connection)
    assert bool(as_of) == (every < len(told))


async def test_what_is_aborted_has_saved_nothing(
    chain: Chain,
    connection: postgres.Connection,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await play(database_url, chain, chain.to(0, 150))
    before, as_of = await channels(connection), await saved(connection)
    monkeypatch.setattr(transaction, "LINKS_EVERY_MESSAGES", 1)
    store = await open_store(database_url, chain.deployment)
    canon, mirror = await store.load()

    async def write() -> None:
        async with store.transaction() as tx:
            tx.enqueue(wire.restarted(mirror.head, 0))
            await tx.move_cursor(canon, node_head=150, live=True)
            await tx.flush()
            raise RuntimeError("lost")

    with pytest.raises(RuntimeError, match="lost"):
        await write()
    await store.close()
    assert (await channels(connection), await saved(connection)) == (before, as_of)


@pytest.mark.parametrize(("every", "trims"), [(40, True), (1_000_000, False)])
async def test_the_newest_of_a_quiet_channel_is_kept_until_it_is_saved(
    every: int,
    trims: bool,
    recordings: Path,
    connection: postgres.Connection,
    database_url: str,
    other_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever is trimmed, prev_seq is what it would have been."""
    chain = Chain(recordings / "gtx_chaos.jsonl.gz", 160)
    for number in range(161, 220):
        before = chain.advances[-1].block
        block = Block(number, Hash(f"0x{number:064x}"), before.hash, before.timestamp + 2)
        chain.advances.append(Advance(block, ()))
    batches = [chain.to(0, 160)]
    batches += [[*chain.to(n, n + 9), chain.finalize(n + 4)] for n in range(161, 210, 10)]
    await play(other_database_url, chain, *batches)
    monkeypatch.setattr(transaction, "OUTBOX_KEEP_BLOCKS", 0)
    monkeypatch.setattr(transaction, "LINKS_EVERY_MESSAGES", every)
    for batch in batches:
        await play(database_url, chain, batch)
    whole = linked(await messages(other_database_url))
    left = linked(await messages(database_url))
    assert left == whole[-len(left) :]
    assert {stream for _, _, stream, _ in left} >= {"orders"} or trims
    assert (len(left) < 100) == trims
    other = await postgres.connect(other_database_url)
    assert await channels(connection) == await newest(other)
    await other.close()


async def test_an_epoch_begins_without_links(
    chain: Chain,
    connection: postgres.Connection,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transaction, "LINKS_EVERY_MESSAGES", 40)
    await play(database_url, chain, *story(chain)[:3])
    store = await open_store(database_url, chain.deployment)
    await store.load()
    (first,) = await store.grounds()
    await store.restart(first)
    await store.close()
    assert list(await channels(connection)) == ["system"]
    await play(database_url, chain, chain.to(1, 20))
    told = await messages(database_url)
    assert min(m["seq"] for m in told) > 40
    assert {m["prev_seq"] for m in told} <= {0, *(m["seq"] for m in told)}
    assert await channels(connection) == await newest(connection)


async def test_one_channel_is_found_by_seq(connection: postgres.Connection) -> None:
    """Of `links` it is one row; of the outbox, what came since, by no other process."""
    many = "select n, n, n, '', '{}', '{}', '' from generate_series(1, 9999) n"
    await connection.execute(f"insert into tidebook.outbox {many}")
    await connection.execute("analyze tidebook.outbox")
    for cost in ("setup_cost", "tuple_cost"):
        await connection.execute(f"set parallel_{cost} = 0")
    for size in ("table", "index"):
        await connection.execute(f"set min_parallel_{size}_scan_size = 0")
    query = "explain select seq from tidebook.channels where channel = 'depth:0x12'"
    plan = [line for (line,) in await connection.fetch(query)]
    text = "\n".join(plan)
    assert "links_pk" in text
    assert "outbox_pk" in text
    assert text.count("channel = 'depth:0x12'") == 2
    assert not [line for line in plan if "Parallel" in line and "cursors" not in line], text


async def test_bundles_begin_another_epoch(
    chain: Chain, connection: postgres.Connection, database_url: str
) -> None:
    """And so does who goes back to a row a message; seq counts on."""

    def move(connection: Connection, revision: str) -> None:
        way = command.downgrade if revision == "0017" else command.upgrade
        way(history.configuration(connection), revision)

    await play(database_url, chain, *story(chain)[:2])
    position = "select epoch, seq from tidebook.cursors"
    before = [tuple(await connection.fetchrow(position) or ())]
    engine = create_async_engine(database_url.replace("postgresql:", "postgresql+asyncpg:", 1))
    for revision in ("0017", "0018"):
        async with engine.begin() as other:
            await other.run_sync(move, revision)
        assert await channels(connection) == {}
        before.append(tuple(await connection.fetchrow(position) or ()))
    await engine.dispose()
    assert len({epoch for epoch, _ in before}) == 3
    assert len({seq for _, seq in before}) == 1
    await play(database_url, chain, chain.to(161, 170))
    told = await messages(database_url)
    assert told[0]["op"] == "snapshot"
    assert told[0]["seq"] == before[0][1] + 1
    assert await channels(connection) == await newest(connection)
