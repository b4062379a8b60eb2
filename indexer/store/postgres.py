"""Connections to Postgres as we want them: hex text for bytea, int for numeric, never half dead."""

import asyncio
import socket
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
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
    connection = await _dial(database_url)
    await heed_cancellation()
    watch(connection)
    await require_session(connection, partial(_dial, database_url))
    await connection.execute(_SESSION)
    await set_codecs(connection)
    return connection


async def _dial(database_url: str) -> Connection:
    try:
        return await asyncpg.connect(database_url)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        # a port that is no number is often the half of a password with a slash in it
        why = error if type(error) is not ValueError else "expected postgresql://user:password@…"
        raise DatabaseUnreachable(
            f"TIDEBOOK_DATABASE_URL: no connection to Postgres: {why}"
        ) from error


async def require_session(
    connection: Connection, another: Callable[[], Awaitable[Connection]]
) -> None:
    """Raise DatabaseUnreachable where a pooler changes the server behind us between transactions.

    Whose number is not the one that was told when we connected is behind some pooler: then a second
    connection looks for what the first has set, and must not find it. Nothing here is prepared.
    """
    if await _is(connection, f"pg_backend_pid() = {connection.get_server_pid()}"):
        return
    word = uuid.uuid4().hex
    ours = f"current_setting('tidebook.session', true) = '{word}'"
    other = await another()
    try:
        await connection.execute(f"select set_config('tidebook.session', '{word}', false)")
        await other.execute("begin")  # holds a server
        if await _is(other, ours) or not await _is(connection, ours):
            connection.terminate()
            raise DatabaseUnreachable(
                "TIDEBOOK_DATABASE_URL: a pooler there gives each transaction its own server, "
                "which has none of our locks, settings and prepared statements: name Postgres "
                "itself, or a pooler that keeps a server for a session"
            )
    finally:
        other.terminate()


async def _is(connection: Connection, condition: str) -> bool:
    return await connection.execute(f"select where {condition}") == "SELECT 1"


SILENT_S, ASK_S, ASKS = 10, 5, 3
"""A peer that says nothing is asked after so long, so often, and is then taken for dead."""

_SESSION = f"""
select set_config(name, value, false)
  from (values ('array_nulls', 'on'),
               ('tcp_keepalives_idle', '{SILENT_S}'), ('tcp_keepalives_interval', '{ASK_S}'),
               ('tcp_keepalives_count', '{ASKS}')) s (name, value)
"""
"""What a server may be set to otherwise: whether NULL in an array's text is one, as our statements
mean it; and how soon it lets go of the lock of a client whose machine died without a word, which is
two hours where nobody says."""


def watch(connection: "asyncpg.Connection[Any]") -> None:
    """Have the connection end if the server's machine dies.

    Who waits for an answer sends nothing, and would wait for ever.
    """
    peer = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]  # no other
    if peer.family == socket.AF_UNIX:
        return
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", SILENT_S),
        ("TCP_KEEPINTVL", ASK_S),
        ("TCP_KEEPCNT", ASKS),
        ("TCP_USER_TIMEOUT", 1_000 * (SILENT_S + ASK_S * ASKS)),  # of what was sent
    ):
        if hasattr(socket, name):  # not every system has each
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


async def set_codecs(connection: "asyncpg.Connection[Any]") -> None:
    """`bytea` as `0x` and hex digits, `numeric` as int: one that is no integer raises."""
    await connection.execute("set bytea_output = hex")  # a server may be set to escape it
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
