"""The tables are the truth of the schema, and migrations reach it."""

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

import migrations
from indexer.store import analytics_tables, tables
from indexer.store.relations import metadata
from migrations import history
from tidebook import embedded


def differences(connection: Connection) -> list[object]:
    options = {
        "include_schemas": True,
        "version_table_schema": migrations.SCHEMA,
        "compare_type": True,
        "compare_server_default": True,
        "include_name": lambda name, type_, _: type_ != "schema" or name == migrations.SCHEMA,
    }
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


def test_readers_have_every_table() -> None:
    told = [table.name for table in (*tables.ALL, *analytics_tables.ALL)]
    assert sorted(table.name for table in metadata.sorted_tables) == sorted(told)


async def test_migrations_arrive_where_the_tables_are(database_url: str) -> None:
    url = database_url.replace("postgresql:", "postgresql+asyncpg:", 1)
    # Our schema bears our user's name: on the search path it would be reflected as nameless.
    settings = {"server_settings": {"search_path": "public"}}
    engine = create_async_engine(url, connect_args=settings)
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
        script = await connection.run_sync(
            lambda sync: ScriptDirectory.from_config(history.configuration(sync))
        )
    await engine.dispose()
    assert script.get_current_head() == migrations.HEAD


async def test_migrating_twice_changes_nothing(database_url: str) -> None:
    assert await migrations.upgrade(database_url) == migrations.HEAD


async def test_a_database_of_a_newer_tidebook_is_left_alone(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("update tidebook.alembic_version set version_num = '9999'")
    await connection.close()
    with pytest.raises(migrations.Refused, match="revision 9999, this Tidebook knows up to"):
        await migrations.upgrade(database_url)


async def test_a_database_that_does_not_take_every_text_is_refused_at_once(
    servers: embedded.Urls,
) -> None:
    connection = await asyncpg.connect(servers.database_url)
    await connection.execute(
        "create database latin encoding 'LATIN1' locale 'C' template template0"
    )
    await connection.close()
    latin = servers.database_url.replace("/postgres?", "/latin?")
    with pytest.raises(migrations.Refused, match="encoding is LATIN1"):
        await migrations.upgrade(latin)
