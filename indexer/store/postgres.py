"""Connections to Postgres as we want them: hex text for bytea, int for numeric."""

import asyncio
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection


class DatabaseUnreachable(Exception):
    """No connection to Postgres. The message says where, why, and which setting names it."""


async def heed_cancellation() -> None:
    """Stop here if we were told to: Python 3.11's wait_for, in asyncpg, can lose that."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def connect(database_url: str) -> Connection:
    """Open a connection with our codecs. Raises DatabaseUnreachable."""
    try:
        connection = await asyncpg.connect(database_url)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise DatabaseUnreachable(
            f"TIDEBOOK_DATABASE_URL: no connection to Postgres: {error}"
        ) from error
    await heed_cancellation()
    await set_codecs(connection)
    return connection


async def set_codecs(connection: "asyncpg.Connection[Any]") -> None:
    """`bytea` as `0x` and hex digits, `numeric` as int: one that is no integer raises."""
    await connection.set_type_codec(
        "bytea",
        schema="pg_catalog",
        format="text",
        encoder=lambda text: "\\x" + text[2:],
        decoder=lambda text: "0x" + text[2:],
    )
    await connection.set_type_codec(
        "numeric", schema="pg_catalog", format="text", encoder=str, decoder=int
    )
