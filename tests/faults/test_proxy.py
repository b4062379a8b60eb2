"""The double of the network does what it says, so that who survives it survives something."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from tests.faults.proxy import Moment, proxy


@pytest.mark.parametrize(
    ("moment", "rows"), [("unsent", 0), ("sent", 1), ("answered", 1)], ids=lambda value: str(value)
)
async def test_a_commit_that_is_cut(
    empty_database_url: str, tmp_path: Path, moment: Moment, rows: int
) -> None:
    direct = await asyncpg.connect(empty_database_url)
    await direct.execute("create table t (n int)")
    async with proxy(empty_database_url, tmp_path) as (between, url):
        client = await asyncpg.connect(url)
        await client.execute("select 1")  # goes through
        cut = asyncio.create_task(between.cut_commit(moment))
        transaction = client.transaction()
        await transaction.start()
        await client.execute("insert into t values (1)")
        with pytest.raises((asyncpg.ConnectionDoesNotExistError, ConnectionError)):
            await transaction.commit()
        await cut
        again = await asyncpg.connect(url)
        async with again.transaction():  # one COMMIT was asked for, and one was cut
            await again.execute("insert into t values (2)")
        await again.close()
    await settled(direct)
    assert await direct.fetchval("select count(*) from t where n = 1") == rows
    assert await direct.fetchval("select count(*) from t where n = 2") == 1
    await direct.close()


async def settled(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Nobody else's connection works on: what was sent has been done."""
    others = (
        "select count(*) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
    )
    while await connection.fetchval(others):
        pass
