"""The relay's two sides in memory: doubles of `relay.PostgresOutbox` and `relay.RedisStreams`.

`Redis` is what outlives a relay, unless somebody empties it; every operation can wait and fail,
before its effect and behind it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from indexer.relay import Entry, RedisChanged
from indexer.store import tables
from indexer.store.memory import Disk, News, Pause, no_pause


class MemoryOutbox:
    """The outbox table of a `Disk`, as committed."""

    def __init__(self, disk: Disk, pause: Pause = no_pause) -> None:
        self._rows = disk.rows(tables.outbox)
        self._news = News(disk)
        self._pause = pause

    async def after(self, seq: int, limit: int) -> Sequence[Entry]:
        await self._pause("read outbox")
        newer = [key for key in self._rows if key[0] > seq]
        rows = [self._rows[key] for key in sorted(newer)[:limit]]
        return [Entry(row["seq"], row["stream"], row["message"]) for row in rows]

    async def wait(self, timeout_s: float) -> None:
        await self._news.wait(timeout_s)

    def close(self) -> None:
        self._news.close()


@dataclass
class Redis:
    """What a Redis holds for us: where the streams stand, and their entries by seq."""

    epoch: str | None = None
    seq: int = 0
    entries: list[Entry] = field(default_factory=list)

    def empty(self) -> None:
        self.epoch, self.seq, self.entries = None, 0, []

    def lose_last(self, count: int) -> None:
        """Fail over to a replica that had not yet got the last entries."""
        if count and len(self.entries) > count:
            del self.entries[-count:]
            self.seq = self.entries[-1].seq


class MemoryStreams:
    """One relay's connection to a `Redis`."""

    def __init__(self, redis: Redis, epoch: str, pause: Pause = no_pause) -> None:
        self._redis = redis
        self._epoch = epoch
        self._pause = pause

    async def position(self) -> int | None:
        await self._pause("read position")
        return self._redis.seq if self._redis.epoch == self._epoch else None

    async def start_anew(self) -> None:
        await self._pause("start anew")
        self._redis.epoch, self._redis.seq, self._redis.entries = self._epoch, 0, []
        await self._pause("started anew")

    async def publish(self, entries: Sequence[Entry], seq: int) -> None:
        await self._pause("publish")
        self._guard(seq)
        self._redis.entries += entries
        self._redis.seq = entries[-1].seq
        await self._pause("published")

    async def require(self, seq: int) -> None:
        await self._pause("require position")
        self._guard(seq)

    def _guard(self, seq: int) -> None:
        redis = self._redis
        if (redis.epoch, redis.seq) != (self._epoch, seq):
            found = {} if redis.epoch is None else {"epoch": redis.epoch, "seq": str(redis.seq)}
            raise RedisChanged(seq, found)
