"""Who is the one that works: a lock in Postgres, held as long as a connection lives.

It goes with the connection, however that ends, so nobody has to clean up behind a killed process.
Waiting is asking again: a statement that waits inside Postgres would hold back its vacuum.
"""

import asyncio
from collections.abc import Callable

from indexer.store.postgres import Connection

WRITER, RELAY = "tidebook writer", "tidebook relay"
ASK_S = 0.5
"""Pause of one that stands by before it asks again."""

_NAMED = "hashtext($1), hashtext($2)"


async def hold(
    connection: Connection, role: str, of: str, on_standby: Callable[[], None] = lambda: None
) -> None:
    """Become the one in `role` of something; while another is, call `on_standby` once and wait."""
    told = False
    while not await connection.fetchval(f"select pg_try_advisory_lock({_NAMED})", role, of):
        if not told:
            told = True
            on_standby()
        await asyncio.sleep(ASK_S)


async def release(connection: Connection, role: str, of: str) -> None:
    """Be it no more, of one that is not there any more."""
    await connection.fetchval(f"select pg_advisory_unlock({_NAMED})", role, of)


WRITER_AT_WORK = f"""exists (
  select from pg_locks
   where locktype = 'advisory' and objsubid = 2 and granted
     and database = (select oid from pg_database where datname = current_database())
     and classid = hashtext('{WRITER}')::oid and objid = hashtext(chain_id::text)::oid)"""
"""Whether a writer holds its lock, as SQL beside the one row of `cursors`."""
