"""The relay: outbox to Redis Streams, each message once.

The invariant: a message's `seq` is its stream id (`seq-0`), and the relay's position moves in the
same MULTI as the entries before it. So a resend is refused by Redis rather than doubled, and a
restart continues behind the last entry that Redis really has. Only a Redis of another epoch, or an
empty one, is filled from the start of the outbox.
"""

import asyncio
import contextlib
import itertools
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import redis.asyncio as redis
from msgspec.json import encode
from redis.exceptions import RedisError

from indexer.store import lock, postgres
from indexer.store.errors import NothingIndexed
from indexer.store.statements import NOTIFY_CHANNEL
from indexer.store.writer import check_schema
from indexer.wire import STREAMS, Stream, Times, relay_key, stream_key

if TYPE_CHECKING:
    from redis.asyncio.client import Pipeline

BATCH_MESSAGES = 1_000
STREAM_MAX_MESSAGES = 100_000
"""Entries kept per stream (roughly: Redis trims whole nodes); older ones are in the outbox."""
BEFORE = " before"
"""Behind a stream's name: where it ended before the last publication."""
WAKE_S = 5.0
"""Longest wait for a notification; after it the outbox is looked at all the same."""


def now_us() -> int:
    return time.time_ns() // 1000


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
class Entry:
    """A message on its way from the outbox into its stream."""

    seq: int
    stream: Stream
    message: str
    begun: int = 0
    """For the newest one: when its step's transaction began, in microseconds; 0 if unknown."""
    committed: int = 0


class Outbox(Protocol):
    """Where messages come from."""

    async def after(self, seq: int, limit: int) -> Sequence[Entry]:
        """The next messages behind `seq`, in order."""

    async def wait(self, timeout_s: float) -> None:
        """Return when the outbox has grown since the last return, or after a while."""


class Streams(Protocol):
    """Where messages go."""

    async def position(self) -> int | None:
        """The newest seq of our epoch that is there; None if it is not our epoch's."""

    async def start_anew(self) -> None:
        """Empty streams of our epoch, to be filled from the start of the outbox."""

    async def publish(self, entries: Sequence[Entry], seq: int) -> None:
        """Add entries and move the position, together, if it is `seq`; else raise RedisChanged."""

    async def require(self, seq: int) -> None:
        """Raise RedisChanged unless the position is `seq`, and the streams end as it says."""


class Relay:
    """Moves one chain's outbox. Any error ends it; a new one starts where Redis stands."""

    def __init__(
        self, outbox: Outbox, streams: Streams, level: Callable[[], None] = lambda: None
    ) -> None:
        self._outbox = outbox
        self._streams = streams
        self._level = level
        """Called whenever Redis holds all there is."""
        self.seq = 0
        """The newest seq that Redis has."""

    async def run(self) -> None:
        """Relay until an error; waits for the writer's notifications in between."""
        position = await self._streams.position()
        if position is None:
            await self._start_anew()
        else:
            self.seq = position
        while True:
            entries = await self._outbox.after(self.seq, BATCH_MESSAGES)
            if not entries:
                await self._streams.require(self.seq)
            else:
                if self.seq and entries[0].seq != self.seq + 1:
                    await self._start_anew()  # trimmed past us: what is kept is told
                await self._streams.publish(entries, self.seq)
                self.seq = entries[-1].seq
            if len(entries) < BATCH_MESSAGES:  # whatever comes now is notified
                self._level()
                await self._outbox.wait(WAKE_S)

    async def _start_anew(self) -> None:
        await self._streams.start_anew()
        self.seq = 0


class PostgresOutbox:
    """The outbox table. Listens from the first `wait` on, so that returns at once."""

    def __init__(self, connection: postgres.Connection, epoch: str) -> None:
        self._connection = connection
        self._epoch = epoch
        self._news = asyncio.Event()
        self._news.set()
        self._listens = False
        self._begun = self._committed = 0

    async def after(self, seq: int, limit: int) -> Sequence[Entry]:
        rows = await self._connection.fetch(
            "select o.seq, stream, message, epoch from tidebook.outbox o, tidebook.cursors"
            " where o.seq > $1 order by o.seq limit $2",
            seq,
            limit,
        )
        if rows and rows[0]["epoch"] != self._epoch:
            raise EpochChanged
        entries = [Entry(row["seq"], row["stream"], row["message"]) for row in rows]
        if entries and self._begun:
            entries[-1] = replace(entries[-1], begun=self._begun, committed=self._committed)
            self._begun = 0
        return entries

    def _hear(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        """The writer has committed a step."""
        self._begun, self._committed = int(str(payload) or 0), now_us()
        self._news.set()

    async def wait(self, timeout_s: float) -> None:
        if not self._listens:
            await self._connection.add_listener(NOTIFY_CHANNEL, self._hear)
            self._connection.add_termination_listener(lambda *_: self._news.set())
            self._listens = True
        await postgres.heed_cancellation()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):  # Python 3.11's wait_for can lose a cancellation
                await self._news.wait()
        self._news.clear()


class RedisStreams:
    """Redis Streams, guarded by a hash that says where they stand, all together and each."""

    def __init__(self, client: "redis.Redis", chain_id: int, epoch: str) -> None:
        self._redis = client
        self._chain_id = chain_id
        self._epoch = epoch

    async def position(self) -> int | None:
        stored: Any = await self._redis.hgetall(self._position_key)
        if stored.get(b"epoch") != self._epoch.encode():
            return None
        async with self._redis.pipeline(transaction=True) as pipe:
            self._read_ends(pipe)
            self._read_ends(pipe, stored.get(b"before", b"0").decode())
            found = await pipe.execute()
        # also where they ended before: the last publication may not have been looked at
        whole = _ends(found, stored) and _ends(found[len(STREAMS) :], stored, BEFORE)
        return int(stored[b"seq"]) if whole else None

    async def start_anew(self) -> None:
        async with self._redis.pipeline(transaction=True) as pipe:
            for stream in STREAMS:
                pipe.delete(stream_key(self._chain_id, stream))
            await pipe.execute()  # by itself: it is allowed also where no memory is left
        async with self._redis.pipeline(transaction=True) as pipe:
            before = (f"{stream}{BEFORE}" for stream in STREAMS)
            nothing: dict[Any, Any] = dict.fromkeys((*STREAMS, *before, "seq", "before"), "0")
            pipe.hset(self._position_key, mapping=nothing | {"epoch": self._epoch})
            await pipe.execute()

    async def publish(self, entries: Sequence[Entry], seq: int) -> None:
        async with self._redis.pipeline(transaction=True) as pipe:
            stored = await self._guard(pipe, seq)
            pipe.multi()  # type: ignore[no-untyped-call]
            self._read_ends(pipe)
            *most, last = entries
            if most:
                self._add(pipe, most)
            fields: dict[Any, Any] = {"m": last.message}
            if last.begun:
                fields["t"] = encode(Times(last.begun, last.committed, now_us()))
            pipe.xadd(
                stream_key(self._chain_id, last.stream),
                fields,
                id=f"{last.seq}-0",
                maxlen=STREAM_MAX_MESSAGES,
                approximate=True,
            )
            newest: dict[Any, Any] = {entry.stream: str(entry.seq) for entry in entries}
            newest |= {f"{name}{BEFORE}": stored.get(name.encode(), b"0") for name in STREAMS}
            newest |= {"seq": str(entries[-1].seq), "before": str(seq)}
            pipe.hset(self._position_key, mapping=newest)
            if not _ends(await pipe.execute(), stored):
                await self.start_anew()  # what was added to hides what is missing
                raise RedisChanged(seq, {"seq": str(seq), "streams": "not those that we filled"})

    def _add(self, pipe: "Pipeline", entries: Sequence[Entry]) -> None:
        """Queue adding entries: all as one command, for each has its price here and there."""
        keys = {stream: stream_key(self._chain_id, stream) for stream in STREAMS}
        told = ((keys[one.stream], f"{one.seq}-0", one.message) for one in entries)
        words = itertools.chain.from_iterable(told)
        pipe.eval(_ADD, len(keys), *keys.values(), STREAM_MAX_MESSAGES, *words)

    async def require(self, seq: int) -> None:
        async with self._redis.pipeline(transaction=True) as pipe:
            stored = await self._guard(pipe, seq)
            pipe.multi()  # type: ignore[no-untyped-call]
            self._read_ends(pipe)
            if not _ends(await pipe.execute(), stored):
                raise RedisChanged(seq, {"seq": str(seq), "streams": "not those that we filled"})

    def _read_ends(self, pipe: "Pipeline", last: str = "+") -> None:
        """Queue reading the newest entry of each stream, or the newest up to a seq, for `_ends`."""
        for stream in STREAMS:
            pipe.xrevrange(stream_key(self._chain_id, stream), max=last, count=1)

    @property
    def _position_key(self) -> str:
        return relay_key(self._chain_id)

    async def _guard(self, pipe: "Pipeline", seq: int) -> Mapping[bytes, bytes]:
        """Raise RedisChanged if somebody emptied Redis or wrote to it; else guard what follows."""
        await pipe.watch(self._position_key)
        stored: Any = await pipe.hgetall(self._position_key)
        if (stored.get(b"epoch"), stored.get(b"seq")) != (
            self._epoch.encode(),
            str(seq).encode(),
        ):
            raise RedisChanged(seq, {key.decode(): value.decode() for key, value in stored.items()})
        return stored  # type: ignore[no-any-return]


_ADD = """
for at = 2, #ARGV, 3 do
  redis.call('XADD', ARGV[at], 'MAXLEN', '~', ARGV[1], ARGV[at + 1], 'm', ARGV[at + 2])
end
"""
"""How many to keep; then, of each entry, its stream's key, its id and the message."""


def _ends(results: Sequence[Any], stored: Mapping[bytes, bytes], when: str = "") -> bool:
    """Whether each stream ends where we have left it: none was evicted, deleted or written to."""
    found = [newest[0][0] if newest else b"0-0" for newest in results[: len(STREAMS)]]
    return found == [stored.get(f"{name}{when}".encode(), b"0") + b"-0" for name in STREAMS]


async def published(redis_url: str, chain_id: int) -> tuple[int, dict[Stream, int]]:
    """Up to which seq Redis holds the outbox, and the newest of each stream, for `status`.

    Raises RedisUnreachable.
    """
    client = await connect_redis(redis_url)
    try:
        seq = await client.hget(relay_key(chain_id), "seq")
        newest = {}
        for stream in STREAMS:
            found: Any = await client.xrevrange(stream_key(chain_id, stream), count=1)
            newest[stream] = int(found[0][0].split(b"-")[0]) if found else 0
    except (RedisError, OSError) as error:
        raise RedisUnreachable(f"TIDEBOOK_REDIS_URL: Redis does not answer: {error}") from error
    finally:
        await client.aclose()
    return int(seq or 0), newest


class RedisChanged(Exception):
    """Redis does not stand where we left it: emptied, failed over, or another relay is at work."""

    def __init__(self, seq: int, stored: Mapping[str, str]) -> None:
        super().__init__(
            f"the streams stood at seq {seq}, Redis now says {dict(stored) or 'nothing'}: it was "
            "emptied or failed over, or another relay is at work; the next start fills them from "
            "Postgres"
        )


class EpochChanged(Exception):
    """The writer has begun another history of messages: the streams are to be filled anew."""


async def identity(streams: "redis.Redis", chain_id: int) -> str:
    """Which Redis this is, by whatever name it was reached: a word that is kept in it."""
    key = f"{relay_key(chain_id)}:id"
    await streams.set(key, uuid.uuid4().hex, nx=True)
    word: Any = await streams.get(key)
    return word.decode() if word else ""


async def _alone(
    connection: postgres.Connection, streams: "redis.Redis", on_standby: Callable[[], None]
) -> None:
    """Become the one relay of this chain into this Redis; it may be emptied while we wait."""
    chain_id = await connection.fetchval("select chain_id from tidebook.cursors")
    if chain_id is None:
        raise NothingIndexed
    while True:
        which = await identity(streams, chain_id)
        await lock.hold(connection, lock.RELAY, which, on_standby)
        if which == await identity(streams, chain_id):
            return
        await lock.release(connection, lock.RELAY, which)


async def _relay_epoch(
    connection: postgres.Connection, streams: "redis.Redis", level: Callable[[], None]
) -> None:
    cursor = await connection.fetchrow("select chain_id, epoch from tidebook.cursors")
    if cursor is None:
        raise NothingIndexed
    epoch = cursor["epoch"]
    redis_streams = RedisStreams(streams, cursor["chain_id"], epoch)
    await Relay(PostgresOutbox(connection, epoch), redis_streams, level).run()


async def relay(
    database_url: str,
    redis_url: str,
    on_standby: Callable[[], None] = lambda: None,
    level: Callable[[], None] = lambda: None,
) -> None:
    """Run the relay of the database's chain. Raises what ends it, and NothingIndexed.

    While another one fills the same Redis, calls `on_standby` once and waits for it to go. Calls
    `level` whenever Redis holds all there is.
    """
    connection = await postgres.connect(database_url)
    try:
        await check_schema(connection)
        streams = await connect_redis(redis_url)
        try:
            await _alone(connection, streams, on_standby)
            while True:
                with contextlib.suppress(EpochChanged):
                    await _relay_epoch(connection, streams, level)
        finally:
            await streams.aclose()
    finally:
        await connection.close()
