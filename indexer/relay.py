"""The relay: outbox to Redis Streams, each message once.

The invariant: a message's `seq` is its stream id (`seq-0`), and the relay's position moves in the
same MULTI as the entries before it. So a resend is refused by Redis rather than doubled, and a
restart continues behind the last entry that Redis really has. Only a Redis of another epoch, or an
empty one, is filled from the start of the outbox.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import redis.asyncio as redis
from redis.exceptions import RedisError

from indexer.store import postgres
from indexer.store.errors import NothingIndexed
from indexer.store.statements import NOTIFY_CHANNEL
from indexer.store.writer import check_schema
from indexer.wire import STREAMS, Stream, stream_key

if TYPE_CHECKING:
    from redis.asyncio.client import Pipeline

BATCH_MESSAGES = 1_000
STREAM_MAX_MESSAGES = 100_000
"""Entries kept per stream (roughly: Redis trims whole nodes); older ones are in the outbox."""
WAKE_S = 5.0
"""Longest wait for a notification; after it the outbox is looked at all the same."""


class RedisUnreachable(Exception):
    """No connection to Redis. The message says where, why, and which setting names it."""


async def connect_redis(redis_url: str) -> "redis.Redis":
    """Open a connection. Raises RedisUnreachable."""
    try:
        client: redis.Redis = redis.from_url(redis_url, protocol=2)
    except ValueError as error:
        raise RedisUnreachable(f"TIDEBOOK_REDIS_URL: {error}") from error
    try:
        await client.ping()
    except (RedisError, OSError) as error:
        await client.aclose()
        raise RedisUnreachable(f"TIDEBOOK_REDIS_URL: no connection to Redis: {error}") from error
    return client


@dataclass(frozen=True, slots=True)
class _Row:
    seq: int
    stream: Stream
    message: str


class Relay:
    """Moves one chain's outbox. Any error ends it; a new one starts where Redis stands."""

    def __init__(
        self, connection: postgres.Connection, streams: "redis.Redis", chain_id: int, epoch: str
    ) -> None:
        self._connection = connection
        self._redis = streams
        self._chain_id = chain_id
        self._epoch = epoch
        self._news = asyncio.Event()
        self.seq = 0
        """The newest seq that Redis has."""

    async def run(self) -> None:
        """Relay until an error; waits for the writer's notifications in between."""
        await self._connection.add_listener(NOTIFY_CHANNEL, lambda *_: self._news.set())
        self.seq = await self._position()
        while True:
            self._news.clear()
            while rows := await self._read():
                await self._publish(rows)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), WAKE_S)
            async with self._redis.pipeline(transaction=True) as pipe:
                await self._require_position(pipe)

    async def _position(self) -> int:
        """Where Redis stands in our epoch; another epoch's streams are removed."""
        stored = await self._redis.hgetall(self._position_key)
        if stored.get(b"epoch") == self._epoch.encode():
            return int(stored[b"seq"])
        await self._start_anew()
        return 0

    async def _start_anew(self) -> None:
        """Empty streams, to be filled from the start of the outbox."""
        self.seq = 0
        async with self._redis.pipeline(transaction=True) as pipe:
            for stream in STREAMS:
                pipe.delete(stream_key(self._chain_id, stream))
            pipe.hset(self._position_key, mapping={"epoch": self._epoch, "seq": 0})
            await pipe.execute()

    @property
    def _position_key(self) -> str:
        return f"tidebook:{self._chain_id}:relay"

    async def _read(self) -> list[_Row]:
        rows = await self._connection.fetch(
            "select seq, stream, message from tidebook.outbox where seq > $1 order by seq limit $2",
            self.seq,
            BATCH_MESSAGES,
        )
        if rows and self.seq and rows[0]["seq"] != self.seq + 1:
            await self._start_anew()  # the outbox was trimmed past us: what is kept is told
        return [_Row(**row) for row in rows]

    async def _publish(self, rows: Sequence[_Row]) -> None:
        async with self._redis.pipeline(transaction=True) as pipe:
            await self._require_position(pipe)
            pipe.multi()  # type: ignore[no-untyped-call]
            for row in rows:
                pipe.xadd(
                    stream_key(self._chain_id, row.stream),
                    {"m": row.message},
                    id=f"{row.seq}-0",
                    maxlen=STREAM_MAX_MESSAGES,
                    approximate=True,
                )
            pipe.hset(self._position_key, "seq", str(rows[-1].seq))
            await pipe.execute()
        self.seq = rows[-1].seq

    async def _require_position(self, pipe: "Pipeline") -> None:
        """Raise RedisChanged if somebody emptied Redis or wrote to it; else guard what follows."""
        await pipe.watch(self._position_key)
        stored: Any = await pipe.hgetall(self._position_key)
        expected = {b"epoch": self._epoch.encode(), b"seq": str(self.seq).encode()}
        if stored != expected:
            raise RedisChanged(self.seq, stored)


class RedisChanged(Exception):
    """Redis does not stand where we left it: emptied, failed over, or another relay is at work."""

    def __init__(self, seq: int, stored: dict[bytes, bytes]) -> None:
        found = {key.decode(): value.decode() for key, value in stored.items()} or "nothing"
        super().__init__(
            f"the streams stood at seq {seq}, Redis now says {found}: it was emptied or failed "
            "over, or another relay is at work; the next start fills them from Postgres"
        )


async def relay(database_url: str, redis_url: str) -> None:
    """Run the relay of the database's chain. Raises what ends it, and NothingIndexed."""
    connection = await postgres.connect(database_url)
    try:
        await check_schema(connection)
        cursor = await connection.fetchrow("select chain_id, epoch from tidebook.cursors")
        if cursor is None:
            raise NothingIndexed
        streams = await connect_redis(redis_url)
        try:
            await Relay(connection, streams, cursor["chain_id"], cursor["epoch"]).run()
        finally:
            await streams.aclose()
    finally:
        await connection.close()
