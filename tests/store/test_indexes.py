"""A first sync goes without most indexes, and whatever happens to it, ends with all of them."""

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from indexer.domain.canon import Canon
from indexer.domain.step import Advance, Step
from indexer.follow import follow
from indexer.store import indexes, past, postgres, statements
from indexer.store import tables as schema
from indexer.store.indexes import MISSING, SPARED
from indexer.store.shape import SCHEMA, Index
from indexer.store.statements import Postgres
from indexer.store.writer import Store, open_store
from tests.store.chains import Chain, play, tables
from tests.store.test_schema import differences

FINAL, LAST = 100, 115
AT_ONCE = 20
ALL = len(SPARED)


@pytest.fixture(scope="module")
def chain(recordings: Path) -> Chain:
    return Chain(recordings / "gtx_chaos.jsonl.gz", LAST)


@pytest.fixture(autouse=True)
def small_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past, "COMMIT_EVENTS", 1)


class Killed(BaseException):
    """The process is gone."""


class Sync:
    """A node whose blocks up to FINAL are final and whose head is far; or one that is killed."""

    def __init__(
        self, chain: Chain, canon: Canon, url: str, killed_at: int | None, node_head: int
    ) -> None:
        self.node_head = node_head
        self.seen: list[int] = []
        """Indexes missing as each batch is asked for."""
        self._chain, self._canon, self._url, self._killed_at = chain, canon, url, killed_at

    async def batches(self) -> AsyncIterator[Sequence[Step]]:
        head = self._canon.head
        below = self._chain.to(0 if head is None else head.number + 1, FINAL)
        for at in range(0, len(below), AT_ONCE):
            steps = below[at : at + AT_ONCE]
            for number, step in enumerate(steps):
                assert isinstance(step, Advance)
                steps[number] = msgspec.structs.replace(step, finality="finalized")
                self._canon.restart(step.block)
            yield steps
            self.seen.append(await missing(self._url))
            if self._killed_at is not None and self._canon.blocks()[-1].number >= self._killed_at:
                raise Killed
        yield []
        assert self._canon.head is not None
        for step in self._chain.to(max(FINAL, self._canon.head.number) + 1, LAST):
            self.seen.append(await missing(self._url))
            assert isinstance(step, Advance)
            self._canon.advance(step.block)
            yield [step]


async def missing(url: str) -> int:
    connection = await postgres.connect(url)
    count: int = await connection.fetchval(f"select {MISSING}")
    await connection.close()
    return count


async def live(
    url: str,
    chain: Chain,
    killed_at: int | None = None,
    node_head: int = 10_000,
    before: Callable[[Store], Any] | None = None,
) -> tuple[list[int], list[str]]:
    """One life of a writer: how many indexes were missing as it went on, and what it said."""
    said: list[str] = []
    store = await open_store(url, chain.deployment, checkpoint_events=200, say=said.append)
    sync: list[Sync] = []

    def source(canon: Canon, _: Any) -> Sync:
        sync.append(Sync(chain, canon, url, killed_at, node_head))
        return sync[0]

    try:
        if before is not None:
            await before(store)
        await follow(store, source)
    except Killed:
        pass
    finally:
        await store.close()
    return sync[0].seen, said


async def unmade(url: str) -> int:
    """How many are not what they are to be: a key's index is not yet the key."""
    connection = await postgres.connect(url)
    there = await Postgres(connection).indexes()
    await connection.close()
    return sum(index.name not in there for index in SPARED)


async def keys(url: str) -> set[str]:
    connection = await postgres.connect(url)
    rows = await connection.fetch(
        "select conname from pg_constraint where contype = 'p'"
        f" and connamespace = '{SCHEMA}'::regnamespace"
    )
    await connection.close()
    return {row["conname"] for row in rows}


KEYS = {table.key.name for table in schema.ALL}


async def check(url: str, other_url: str, chain: Chain) -> None:
    """The schema is what the tables say, and the rows are those of a writer that kept indexes."""
    engine = create_async_engine(
        url.replace("postgresql:", "postgresql+asyncpg:", 1),
        connect_args={"server_settings": {"search_path": "public"}},
    )
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()
    assert await keys(url) >= KEYS  # Alembic looks at none
    await play(other_url, chain, chain.to(0, LAST))
    assert await tables(url) == await tables(other_url)


async def test_a_first_sync_builds_them_before_the_first_live_block(
    database_url: str, other_database_url: str, chain: Chain
) -> None:
    seen, said = await live(database_url, chain)
    assert set(seen[:5]) == {ALL}
    assert seen[6:] == [0] * (LAST - FINAL)
    assert said == [f"building {ALL} indexes that the first sync went without"]
    await check(database_url, other_database_url, chain)
    assert await live(database_url, chain) == ([], [])


@pytest.mark.parametrize("killed_at", [1, 50, FINAL])
async def test_a_first_sync_that_is_killed_goes_on_without_them(
    database_url: str, other_database_url: str, chain: Chain, killed_at: int
) -> None:
    await live(database_url, chain, killed_at)
    assert await missing(database_url) == ALL
    seen, _ = await live(database_url, chain, node_head=LAST)
    assert seen[-1] == 0
    await check(database_url, other_database_url, chain)


async def test_a_writer_killed_while_it_builds_them_builds_the_rest(
    database_url: str,
    other_database_url: str,
    chain: Chain,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    create = Postgres.create_index
    built: list[Index] = []

    async def last(self: Postgres, index: Index) -> None:
        if len(built) >= 3:
            raise Killed
        await create(self, index)
        built.append(index)

    with monkeypatch.context() as patched:
        patched.setattr(Postgres, "create_index", last)
        await live(database_url, chain)
    left = await unmade(database_url)  # one that was being built may be there all the same
    assert 0 < left <= ALL - sum(not index.is_key for index in built)
    _, said = await live(database_url, chain)
    assert said == [f"building {left} indexes that the first sync went without"]
    await check(database_url, other_database_url, chain)


async def test_a_first_sync_can_go_back_to_its_ground(
    database_url: str, other_database_url: str, chain: Chain
) -> None:
    await live(database_url, chain, 60)

    async def go_back(store: Store) -> None:
        await store.load()
        grounds = await store.grounds()
        assert await store.restart(grounds[-1]) > 0

    await live(database_url, chain, before=go_back)
    await check(database_url, other_database_url, chain)


async def test_they_stay_where_somebody_is_reading(database_url: str, chain: Chain) -> None:
    connection = await postgres.connect(database_url)
    async with connection.transaction():
        await connection.fetch("select from tidebook.orders")
        seen, said = await live(database_url, chain)
    await connection.close()
    assert (set(seen), said) == ({0}, [])


async def test_a_short_first_sync_keeps_them(database_url: str, chain: Chain) -> None:
    seen, said = await live(database_url, chain, node_head=indexes.LEAST_BLOCKS - 1)
    assert (set(seen), said) == ({0}, [])


async def test_a_key_that_a_reader_keeps_from_being_made_is_made_by_the_next_start(
    database_url: str,
    other_database_url: str,
    chain: Chain,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Until then its index holds what it promises, and serves all who look by it."""
    monkeypatch.setattr(statements, "KEY_PAUSE_S", 0.0)
    monkeypatch.setattr(statements, "KEY_TRIES", 2)
    await live(database_url, chain, killed_at=50)
    reader = await postgres.connect(database_url)
    async with reader.transaction():
        await reader.fetch("select from tidebook.balance_changes")
        seen, _ = await live(database_url, chain)
    assert seen[-1] == 0
    assert KEYS - await keys(database_url) == {"balance_changes_pk"}
    with pytest.raises(asyncpg.UniqueViolationError, match="balance_changes_pk"):
        await reader.execute(TWICE)
    await reader.close()
    await live(database_url, chain)
    await check(database_url, other_database_url, chain)


async def test_a_fact_written_twice_in_a_first_sync_is_found_at_its_end(
    database_url: str, chain: Chain
) -> None:
    connection = await postgres.connect(database_url)
    await connection.execute("""
        create function public.again() returns trigger language plpgsql as
        $$begin insert into tidebook.balance_changes select new.*; return null; end$$;
        create trigger again after insert on tidebook.balance_changes
        for each row when (pg_trigger_depth() = 0) execute function public.again()""")
    for _ in range(2):
        with pytest.raises(asyncpg.UniqueViolationError, match="block_number, account, token"):
            await live(database_url, chain)
    assert await connection.fetchval("select live from tidebook.cursors") is False
    await connection.close()


TWICE = "insert into tidebook.balance_changes select * from tidebook.balance_changes limit 1"
