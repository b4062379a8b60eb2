"""The way to the schema's head: Alembic, which is loaded only where there is a way to go."""

from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from migrations import HEAD, SCHEMA, Refused

NOT_ALLOWED = "42501"
"""Postgres' code for want of a privilege."""


async def upgrade(database_url: str) -> str | None:
    """Bring the schema to HEAD; returns the revision it had (None: there was no schema).

    Safe to run from several processes at once. Raises Refused, and then changes nothing.
    """

    async def dial() -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(database_url)  # as it is: whatever libpq's form allows

    engine = create_async_engine("postgresql+asyncpg://", async_creator=dial)
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(_upgrade)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != NOT_ALLOWED:
            raise
        raise Refused(
            f"the schema cannot be brought to {HEAD} by this role of TIDEBOOK_DATABASE_URL: "
            f"{_words(error)}; run `tidebook migrate` as the owner "
            "(tidebook/servers.md has all that it needs)"
        ) from error
    finally:
        await engine.dispose()


def _words(error: DBAPIError) -> str:
    """Postgres' own, without what two layers put around them."""
    cause = error.orig and error.orig.__cause__
    return str(cause or error.orig)


def configuration(connection: Connection, metadata: MetaData | None = None) -> Config:
    """An Alembic configuration bound to an open connection."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    config.attributes["metadata"] = metadata
    return config


def _upgrade(connection: Connection) -> str | None:
    connection.execute(text("set local statement_timeout = 0"))  # a limit meant for questions
    connection.execute(text("select pg_advisory_xact_lock(hashtext('tidebook migrations'))"))
    config = configuration(connection)
    before: str | None = None
    if inspect(connection).has_table("alembic_version", schema=SCHEMA):
        before = connection.scalar(text(f"select version_num from {SCHEMA}.alembic_version"))
    if before == HEAD:
        return before
    try:
        if before is not None:
            ScriptDirectory.from_config(config).get_revision(before)
    except CommandError:
        raise Refused(
            f"the database's schema is at revision {before}, this Tidebook knows up to {HEAD}: "
            "it was migrated by a newer one; use that, or another database"
        ) from None
    if before is None:
        _refuse_encoding(str(connection.scalar(text("show server_encoding"))))
    if not inspect(connection).has_schema(
        SCHEMA
    ):  # "if not exists" wants the privilege all the same
        connection.execute(text(f"create schema if not exists {SCHEMA}"))
    command.upgrade(config, HEAD)
    return before


def _refuse_encoding(encoding: str) -> None:
    """Names of tokens are whatever their makers wrote: one would stop the writer later."""
    if encoding not in ("UTF8", "SQL_ASCII"):
        raise Refused(
            f"the database's encoding is {encoding}, in which not every token's name can be "
            "written: make one with `create database ... encoding 'UTF8' template template0`"
        )
