"""Connections for snapshots: as many as there may be, and none that is unfit."""

import asyncio
from typing import Any

import asyncpg
import pytest
from sqlalchemy import select, text

from indexer.store import tables as t
from indexer.store.queries import Query
from indexer.store.snapshot import Pool, Snapshot, connect

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
    pool = connect(empty_database_url, 2, 1.0)
    first = await backend(pool)
    assert await backend(pool) == first
    other: Any = await asyncpg.connect(empty_database_url)
    await other.fetchval(END_IT, first)
    while await other.fetchval("select count(*) from pg_stat_activity where pid = $1", first):
        await asyncio.sleep(0)
    assert await backend(pool) != first
    await other.close()
    await pool.dispose()


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


async def test_who_finds_all_connections_taken_waits_so_long(empty_database_url: str) -> None:
    pool = connect(empty_database_url, 1, 0.05)
    holder, late = Snapshot(pool), Snapshot(pool)
    await holder.read(BACKEND)
    with pytest.raises(TimeoutError):
        await late.read(BACKEND)
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
