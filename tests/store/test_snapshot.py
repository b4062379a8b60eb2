"""Connections for snapshots: as many as there may be, and none that is unfit."""

import asyncio
from typing import Any

import asyncpg
import pytest
from sqlalchemy import select, text

from indexer.store import relations as t
from indexer.store.queries import Query
from indexer.store.snapshot import _BEGIN, Pool, Row, Snapshot, connect

BACKEND = Query(text("select pg_backend_pid() as pid").columns())
END_IT = "select pg_terminate_backend($1)"


async def backend(pool: Pool) -> int:
    """Which of Postgres' processes a snapshot reads from."""
    snapshot = Snapshot(pool)
    pid: int = (await snapshot.read(BACKEND))[0].pid
    await snapshot.close()
    return pid


async def test_a_connection_is_used_again_and_a_dead_one_is_not(
    empty_database_url: str,
) -> None:
    ended = asyncio.Event()

    async def dial() -> Any:
        connection: Any = await asyncpg.connect(empty_database_url, record_class=Row)
        connection.add_termination_listener(lambda _: ended.set())
        return connection

    pool = Pool(dial, 2, 1.0)
    first = await backend(pool)
    assert await backend(pool) == first
    other: Any = await asyncpg.connect(empty_database_url)
    await other.fetchval(END_IT, first)
    await ended.wait()
    assert await backend(pool) != first
    await other.close()
    await pool.dispose()


class Ending:
    """A connection that the other end is just closing, as asyncpg tells of it."""

    async def execute(self, *_: object) -> Any:
        raise asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is …")

    fetch = execute

    def terminate(self) -> None: ...

    def is_closed(self) -> bool:
        return True


async def test_a_connection_that_is_just_closing_is_told_as_lost() -> None:
    async def dial() -> Any:
        return Ending()

    pool = Pool(dial, 1, 1.0)
    with pytest.raises(ConnectionResetError):
        await Snapshot(pool).read(BACKEND)
    with pytest.raises(ConnectionResetError):
        await Snapshot(pool).glance(BACKEND)
    with pytest.raises(ConnectionResetError):
        await Snapshot(pool).glance(BACKEND)  # the first has given its place back


async def test_a_snapshot_ends_in_peace_also_where_its_connection_is_just_closing() -> None:
    class Late(Ending):
        async def execute(self, *query: object, **_: object) -> Any:
            if query != (_BEGIN,):
                await super().execute()

        async def fetch(self, *_: object) -> Any:
            return []

    async def dial() -> Any:
        return Late()

    snapshot = Snapshot(Pool(dial, 1, 1.0))
    await snapshot.read(BACKEND)
    await snapshot.close()


async def test_a_connection_lost_in_the_middle_is_told_and_not_used_again(
    empty_database_url: str,
) -> None:
    pool = connect(empty_database_url, 1, 1.0)
    snapshot = Snapshot(pool)
    lost = (await snapshot.read(BACKEND))[0].pid
    other: Any = await asyncpg.connect(empty_database_url)
    await other.fetchval(END_IT, lost)
    await other.close()
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await snapshot.read(BACKEND)
    await snapshot.close()
    assert await backend(pool) != lost
    await pool.dispose()


async def test_bytes_are_hex_whatever_the_server_is_set_to(empty_database_url: str) -> None:
    """Every address and hash was wrong, and writers and readers agreed on it."""
    other: Any = await asyncpg.connect(empty_database_url)
    name = await other.fetchval("select current_database()")
    await other.execute(f"alter database {name} set bytea_output = 'escape'")
    await other.close()
    pool = connect(empty_database_url, 1, 1.0)
    snapshot = Snapshot(pool)
    read = await snapshot.read(Query(text("select '\\x5f00ff'::bytea as told").columns()))
    assert read[0].told == "0x5f00ff"
    await snapshot.close()
    await pool.dispose()


async def test_who_finds_all_connections_taken_waits_so_long(empty_database_url: str) -> None:
    pool = connect(empty_database_url, 1, 0.01)
    holder, late = Snapshot(pool), Snapshot(pool)
    await holder.read(BACKEND)
    with pytest.raises(TimeoutError):
        await late.read(BACKEND)
    await holder.close()
    await pool.dispose()


async def test_who_waits_gets_the_connection_that_is_given_back(empty_database_url: str) -> None:
    pool = connect(empty_database_url, 1, 60.0)
    holder, late = Snapshot(pool), Snapshot(pool)
    await holder.read(BACKEND)
    waiting = asyncio.create_task(late.read(BACKEND))
    await asyncio.sleep(0)
    await holder.close()
    assert await waiting
    await late.close()
    await pool.dispose()


async def test_a_request_given_up_leaves_its_connection_fit(empty_database_url: str) -> None:
    pool = connect(empty_database_url, 1, 1.0)
    snapshot = Snapshot(pool)
    sleeping = asyncio.create_task(snapshot.read(text("select pg_sleep(60)").columns()))
    while not snapshot.statements:
        await asyncio.sleep(0)
    sleeping.cancel()
    await asyncio.wait({sleeping})
    await snapshot.close()
    assert await backend(pool)
    await pool.dispose()


async def test_nothing_can_be_written(empty_database_url: str) -> None:
    pool = connect(empty_database_url, 1, 1.0)
    snapshot = Snapshot(pool)
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await snapshot.read(text("create table a (b int)").columns())
    await snapshot.close()
    await pool.dispose()


def test_a_query_knows_its_parameters_by_name() -> None:
    seq = t.channels.c.seq
    query = Query(select(seq).where(t.channels.c.channel == "a", seq > 3).limit(5))
    assert query.arguments(None) == ["a", 3, 5]
    assert query.arguments({"seq_1": 7}) == ["a", 7, 5]
