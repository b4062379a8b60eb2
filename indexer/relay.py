"""The relay: outbox to Redis Streams, each message once.

The invariant: a message's `seq` is its stream id (`seq-0`), and one script adds entries and moves
the relay's position, if Redis still stands where we left it. So a resend is refused by Redis rather
than doubled, and a restart continues behind the last entry that Redis really has. Only a Redis of
another epoch, or an empty one, is filled from the start of the outbox.

Nobody looks at the messages on their way: they come bundled, go as one text, and the script
takes it apart. A block is some hundreds of them, and each touched here cost as much as in Redis.
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import redis.asyncio as redis
from msgspec.json import encode
from redis.exceptions import RedisError

from indexer import bundle
from indexer.store import lock, postgres
from indexer.store.database import Row
from indexer.store.errors import NothingIndexed
from indexer.store.statements import NOTIFY_CHANNEL
from indexer.store.writer import check_schema
from indexer.wire import STREAMS, Stream, Times, relay_key, stream_key

BATCH_MESSAGES = 1_000
STREAM_MAX_MESSAGES = 100_000
"""Entries kept per stream (roughly: Redis trims whole nodes); older ones are in the outbox."""
WAKE_S = 5.0
"""Longest wait for a notification; after it the outbox is looked at all the same."""


def now_us() -> int:
    return time.time_ns() // 1000


class RedisUnreachable(Exception):
    """No connection to Redis. The message says where, why, and which setting names it."""


class RedisUnsuitable(Exception):
    """One of a kind that cannot hold our streams."""


async def connect_redis(redis_url: str) -> "redis.Redis":
    """Open a connection. Raises RedisUnreachable, RedisUnsuitable."""
    try:
        client: redis.Redis = redis.from_url(redis_url, protocol=2)
    except ValueError as error:
        raise RedisUnreachable(f"TIDEBOOK_REDIS_URL: {error}") from error
    try:
        await client.ping()
    except (RedisError, OSError, TypeError) as error:  # TypeError: an unknown name in its query
        await client.aclose()
        raise RedisUnreachable(f"TIDEBOOK_REDIS_URL: no connection to Redis: {error}") from error
    if (mode := await _mode(client)) in _NO_PLACE:
        await client.aclose()
        raise RedisUnsuitable(f"TIDEBOOK_REDIS_URL: the server there is {_NO_PLACE[mode]}")
    return client


_NO_PLACE = {
    b"cluster": "of a cluster, which spreads our streams over several: name a Redis by itself",
    b"sentinel": "a Sentinel, which holds no streams: name its primary",
}
"""Modes of a server that the script below cannot work in."""


async def _mode(client: "redis.Redis") -> bytes:
    """What a server says that it is; nothing, if its user may not ask."""
    try:
        told: Any = await client.execute_command("HELLO")  # type: ignore[no-untyped-call]
    except (RedisError, OSError):
        return b""
    return bytes(dict(zip(told[::2], told[1::2], strict=True))[b"mode"])


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages on their way from the outbox into their streams."""

    first: int
    last: int
    messages: int
    lines: bytes
    """Of each message its channel, its seq and itself, as one line."""
    begun: int = 0
    """When the newest one's step's transaction began, in microseconds; 0 if unknown."""
    committed: int = 0


class Outbox(Protocol):
    """Where messages come from."""

    async def after(self, seq: int, limit: int) -> Batch | None:
        """The next messages behind `seq`; None if there are none."""

    async def wait(self, timeout_s: float) -> None:
        """Return when the outbox has grown since the last return, or after a while."""


class Streams(Protocol):
    """Where messages go."""

    async def position(self) -> int | None:
        """The newest seq of our epoch that is there; None if it is not our epoch's."""

    async def start_anew(self) -> None:
        """Empty streams of our epoch, to be filled from the start of the outbox."""

    async def publish(self, batch: Batch, seq: int) -> None:
        """Add messages and move the position, or raise what `require` does and change nothing."""

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
            batch = await self._outbox.after(self.seq, BATCH_MESSAGES)
            if batch is None:
                await self._streams.require(self.seq)
            else:
                if self.seq and batch.first != self.seq + 1:
                    await self._start_anew()  # trimmed past us: what is kept is told
                await self._streams.publish(batch, self.seq)
                self.seq = batch.last
            if batch is None or batch.messages < BATCH_MESSAGES:  # whatever comes now is notified
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

    async def after(self, seq: int, limit: int) -> Batch | None:
        rows = await self._connection.fetch(_NEXT, seq, limit)
        if not rows:
            return None
        if rows[0]["epoch"] != self._epoch:
            raise EpochChanged
        begun, self._begun = self._begun, 0
        return replace(batch_of(rows, seq), begun=begun, committed=self._committed)

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


def batch_of(rows: Sequence[Row], seq: int) -> Batch:
    """What bundles tell behind `seq`: Redis may have part of the first."""
    lines = b"\n".join([bundle.text(row["messages"]) for row in rows])
    first, last = rows[0]["first_seq"], rows[-1]["seq"]
    if first <= seq:
        lines = lines.split(b"\n", seq + 1 - first)[-1]
        first = seq + 1
    return Batch(first, last, last + 1 - first, lines)


_NEXT = """
select (select epoch from tidebook.cursors) epoch, seq, first_seq, messages
  from (select seq, first_seq, messages, sum(seq + 1 - first_seq) over (order by seq) upto
          from (select seq, first_seq, messages from tidebook.outbox
                 where seq > $1 order by seq limit $2) bundles) next
 where upto - (seq + 1 - first_seq) < $2
 order by seq
"""
"""As many bundles as it takes for so many messages."""


class RedisStreams:
    """Redis Streams, guarded by a hash that says where they stand, all together and each."""

    def __init__(self, client: "redis.Redis", chain_id: int, epoch: str) -> None:
        self._redis = client
        self._chain_id = chain_id
        self._epoch = epoch

    async def position(self) -> int | None:
        stored: Any = await self._redis.hget(self._position_key, "seq")
        seq = int(stored or 0)
        try:
            await self._tell(seq)
        except RedisChanged:
            return None
        return seq

    async def start_anew(self) -> None:
        async with self._redis.pipeline(transaction=True) as pipe:
            for stream in STREAMS:
                pipe.delete(stream_key(self._chain_id, stream))
            await pipe.execute()  # by itself: it is allowed also where no memory is left
        async with self._redis.pipeline(transaction=True) as pipe:
            nothing: dict[Any, Any] = dict.fromkeys((*STREAMS, "seq"), "0")
            pipe.hset(self._position_key, mapping=nothing | {"epoch": self._epoch})
            await pipe.execute()

    async def publish(self, batch: Batch, seq: int) -> None:
        times = b""
        if batch.begun:
            times = encode(Times(batch.begun, batch.committed, now_us()))
        await self._tell(seq, batch.lines, times)

    async def require(self, seq: int) -> None:
        await self._tell(seq)

    async def _tell(self, seq: int, lines: bytes = b"", times: bytes = b"") -> None:
        """Add lines, if Redis stands at `seq`. Raises RedisChanged."""
        keys = [self._position_key, *(stream_key(self._chain_id, name) for name in STREAMS)]
        words: Any = (self._epoch, seq, STREAM_MAX_MESSAGES, lines, times)
        found: Any = await self._redis.eval(_TELL, len(keys), *keys, *words)
        if found != 1:
            stands = [word.decode() for word in found]
            raise RedisChanged(seq, dict(zip(stands[::2], stands[1::2], strict=True)))

    @property
    def _position_key(self) -> str:
        return relay_key(self._chain_id)


_TELL = """
local position, epoch, seq, most, lines, times = KEYS[1], unpack(ARGV)
local stored = redis.call('HMGET', position, 'epoch', 'seq')
if stored[1] ~= epoch or stored[2] ~= seq then
  return redis.call('HGETALL', position)
end
local keys = {}
for at = 2, #KEYS do
  local stream = string.match(KEYS[at], '[^:]*$')
  local newest = redis.call('XREVRANGE', KEYS[at], '+', '-', 'COUNT', 1)[1]
  local found, left = newest and newest[1] or '0-0', redis.call('HGET', position, stream) or '0'
  if found ~= left .. '-0' then
    return {'seq', seq, 'streams', 'not those that we filled', stream, found}
  end
  keys[stream] = KEYS[at]
end
local ends, at = {}, 1
while at <= #lines do
  local space = string.find(lines, ' ', at, true)
  local behind = string.find(lines, ' ', space + 1, true)
  local line = string.find(lines, '\\n', behind + 1, true) or #lines + 1
  local stream = string.match(lines, '^[^: ]+', at)
  local message = string.sub(lines, behind + 1, line - 1)
  seq = string.sub(lines, space + 1, behind - 1)
  if line > #lines and times ~= '' then
    redis.call('XADD', keys[stream], seq .. '-0', 'm', message, 't', times)
  else
    redis.call('XADD', keys[stream], seq .. '-0', 'm', message)
  end
  ends[stream] = seq
  at = line + 1
end
if at > 1 then
  local moved = {'seq', seq}
  for stream, last in pairs(ends) do
    redis.call('XTRIM', keys[stream], 'MAXLEN', '~', most)
    moved[#moved + 1] = stream
    moved[#moved + 1] = last
  end
  redis.call('HSET', position, unpack(moved))
end
return 1
"""
"""Returns 1, or where Redis stands. Keys are the position and the streams.

A stream is trimmed once a batch: with each entry it cost Redis a tenth of the whole.
"""


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
