"""The consumer group that keeps analytics' tables at the head of the depth stream, and announces
what reorgs, told by the system stream, have restated.

Entries that a killed process took and never acknowledged are claimed back (XAUTOCLAIM) before new
ones are read; acknowledging follows the commit. Until cancelled, lost servers are dialled again.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import asyncpg
import msgspec
import redis.asyncio as redis
from redis.exceptions import RedisError, ResponseError

from analytics.announce import Announcer
from analytics.kept import Keeper, Misfit
from indexer.store import postgres
from indexer.wire import Message, stream_key

_log = logging.getLogger("tidebook.analytics")

GROUP = "analytics-consumers"
CONSUMER = "keeper"
BLOCK_MS = 1_000
"""Longest wait for an entry."""
READ_ENTRIES = 500
REDIAL_MIN_S, REDIAL_MAX_S = 0.05, 2.0
Folds = dict[str, Callable[[Sequence[Message]], Awaitable[None]]]
"""What is done with the messages of each stream, by key."""
_decode = msgspec.json.Decoder(Message).decode


class Consumer:
    """One life after another, until cancelled."""

    def __init__(self, database_url: str, redis_url: str, chain_id: int) -> None:
        self._database_url = database_url
        self._redis_url = redis_url
        self._chain_id = chain_id
        self._depth, self._system = (stream_key(chain_id, name) for name in ("depth", "system"))
        self.keeping = asyncio.Event()
        """Set while we are the one who keeps the tables."""

    async def run(self) -> None:
        delay_s = REDIAL_MIN_S
        while True:
            try:
                await self._live()
            except Misfit as cause:
                _log.info("rebuilding: %s", cause)
                delay_s = REDIAL_MIN_S
            except (
                RedisError,
                OSError,
                asyncpg.PostgresError,
                asyncpg.InterfaceError,
                postgres.DatabaseUnreachable,
            ) as error:
                _log.warning("analytics' tables wait (%s)", error)
                delay_s = min(2 * delay_s, REDIAL_MAX_S)
            finally:
                self.keeping.clear()
            await asyncio.sleep(delay_s)

    async def _live(self) -> None:
        async with contextlib.AsyncExitStack() as opened:
            connection = await postgres.connect(self._database_url)
            opened.push_async_callback(connection.close)
            keeper = Keeper(connection)
            while not await keeper.try_lock():
                await asyncio.sleep(REDIAL_MAX_S)  # another replica keeps them: stand by
            streams: redis.Redis = redis.from_url(self._redis_url, protocol=2)
            opened.push_async_callback(streams.aclose)
            await self._join(streams)
            await keeper.load()
            announcer = Announcer(connection, streams, self._chain_id)
            folds: Folds = {self._depth: keeper.apply, self._system: announcer.apply}
            self.keeping.set()
            try:
                await self._keep(folds, streams)
            except Misfit:
                await keeper.rebuild()
                raise

    async def _join(self, streams: "redis.Redis") -> None:
        for key in (self._depth, self._system):
            try:
                await streams.xgroup_create(key, GROUP, id="0", mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise

    async def _keep(self, folds: Folds, streams: "redis.Redis") -> None:
        for key in folds:
            start: Any = "0-0"
            while True:  # what a killed one took: the lock says that nobody else is at it
                reply: Any = await streams.xautoclaim(
                    key, GROUP, CONSUMER, 0, start_id=start, count=READ_ENTRIES
                )
                start = reply[0]
                await self._take(folds, streams, key, reply[1])
                if start in (b"0-0", "0-0"):
                    break
        unread: Any = dict.fromkeys(folds, ">")
        while True:
            found: Any = await streams.xreadgroup(
                GROUP, CONSUMER, unread, count=READ_ENTRIES, block=BLOCK_MS
            )
            for key, entries in found or ():
                await self._take(folds, streams, key.decode(), entries)

    async def _take(self, folds: Folds, streams: "redis.Redis", key: str, entries: Any) -> None:
        """Commit, then acknowledge: what is between the two comes again and is skipped."""
        if not entries:
            return
        messages = [_decode(fields[b"m"]) for _, fields in entries if fields]
        messages.sort(key=lambda message: message.seq)
        await folds[key](messages)
        await streams.xack(key, GROUP, *(number for number, _ in entries))
