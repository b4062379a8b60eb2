"""A Redis that can be emptied, fail over, fill up or drop keys: what `RedisStreams` needs of one.

`Redis` is the server, `Connection` one client: WATCH, MULTI and EXEC mean what they mean there.
"""

from bisect import bisect_right
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from redis.exceptions import ResponseError, WatchError

from indexer.store.memory import Pause
from indexer.wire import STREAMS, stream_key
from tests.simulation.exchange import CHAIN_ID

Entries = list[tuple[int, str]]
"""seq and message."""
KEYS = {stream_key(CHAIN_ID, stream): stream for stream in STREAMS}


class Redis:
    """Hashes and streams by key."""

    def __init__(self, longest: int = 100_000) -> None:
        self.longest = longest
        """Entries that a stream keeps."""
        self.hashes: dict[str, dict[bytes, bytes]] = {}
        self.streams: dict[str, Entries] = {}
        self.full = False
        """No memory is left: whatever writes is refused."""
        self.writes = self.moves = 0
        """All of them, and those that moved the position."""
        self.trimmed = False
        self._positions: list[dict[bytes, bytes]] = []
        """The position behind each transaction of this epoch."""
        self._told: dict[tuple[bytes | None, int], str] = {}
        """Every message there ever was, by epoch and seq."""

    @property
    def position(self) -> dict[bytes, bytes]:
        """Where the relay says that it stands."""
        return self.hashes.get(f"tidebook:{CHAIN_ID}:relay", {})

    @property
    def seq(self) -> int:
        return int(self.position.get(b"seq", b"0"))

    @property
    def is_whole(self) -> bool:
        """Whether each stream ends where the position says: none was evicted since."""
        ends = {key.split(":")[2]: stream[-1][0] for key, stream in self.streams.items() if stream}
        return all(
            int(self.position.get(name.encode(), b"0")) == ends.get(name, 0) for name in STREAMS
        )

    def entries(self, after: int = 0) -> Entries:
        """What is in all streams behind a seq, by seq."""
        found: Entries = []
        for stream in self.streams.values():
            found += stream[bisect_right(stream, after, key=itemgetter(0)) :]
        return sorted(found)

    def empty(self) -> None:
        self.hashes, self.streams, self._positions = {}, {}, []
        self._moved()

    def evict(self, key: str) -> None:
        self.streams.pop(key, None)
        self.writes += 1

    def fail_over(self, lost: int) -> None:
        """To a replica that had not yet got so many of the last transactions."""
        if len(self._positions) <= lost:
            return
        del self._positions[-lost:]
        self.position.update(self._positions[-1])
        self.streams = {
            key: [entry for entry in stream if entry[0] <= self.seq]
            for key, stream in self.streams.items()
        }
        self._moved()

    def set(self, key: str, fields: dict[bytes, bytes]) -> None:
        self.hashes.setdefault(key, {}).update(fields)
        if b"epoch" in fields:
            self._positions = []
        self._positions.append(dict(self.position))
        self._moved()

    def _moved(self) -> None:
        self.writes += 1
        self.moves += 1

    def xadd(self, key: str, seq: int, message: str, maxlen: int) -> None:
        stream = self.streams.setdefault(key, [])
        if stream and seq <= stream[-1][0]:
            raise ResponseError("The ID specified in XADD is equal or smaller than the target's")
        known = self._told.setdefault((self.position.get(b"epoch"), seq), message)
        assert known == message, f"seq {seq} was {known}, and is {message} now"
        stream.append((seq, message))
        gone = stream[: -min(maxlen, self.longest)]
        self.trimmed = self.trimmed or bool(gone)
        del stream[: len(gone)]
        self.writes += 1

    def newest(self, key: str, last: int | None) -> list[tuple[bytes, dict[bytes, bytes]]]:
        stream = self.streams.get(key, [])
        seqs = [seq for seq, _ in stream if last is None or seq <= last]
        return [(f"{seq}-0".encode(), {}) for seq in seqs[-1:]]

    def foreign(self) -> Entries:
        """Entries of another epoch than the one that is told."""
        epoch = self.position.get(b"epoch")
        return [entry for entry in self.entries() if self._told.get((epoch, entry[0])) != entry[1]]


class Connection:
    """A client. Every command can wait and fail, before its effect and behind it."""

    def __init__(self, redis: Redis, pause: Pause) -> None:
        self._redis = redis
        self._pause = pause

    async def hgetall(self, key: str) -> dict[bytes, bytes]:
        await self._pause("HGETALL")
        return dict(self._redis.hashes.get(key, {}))

    def pipeline(self, *, transaction: bool) -> "Pipeline":
        assert transaction, "nothing is written but together"
        return Pipeline(self._redis, self._pause)


class Pipeline:
    """Commands for one EXEC, refused if anybody wrote since WATCH."""

    def __init__(self, redis: Redis, pause: Pause) -> None:
        self._redis = redis
        self._pause = pause
        self._commands: list[Callable[[], object]] = []
        self._watched: int | None = None
        self._writes = False
        """Anything that needs memory."""

    async def __aenter__(self) -> "Pipeline":
        return self

    async def __aexit__(self, *_: object) -> None:
        """What was not executed is forgotten."""

    async def watch(self, _: str) -> None:
        await self._pause("WATCH")
        self._watched = self._redis.moves

    async def hgetall(self, key: str) -> dict[bytes, bytes]:
        return await Connection(self._redis, self._pause).hgetall(key)

    def multi(self) -> None:
        """Everything is queued here anyway."""

    def xadd(self, key: str, fields: dict[str, str], **how: Any) -> None:
        seq, maxlen = int(how["id"].removesuffix("-0")), how["maxlen"]
        self._commands.append(lambda: self._redis.xadd(key, seq, fields["m"], maxlen))

    def eval(self, _script: str, keys: int, *keys_and_words: Any) -> None:
        """What the relay's one script does."""
        maxlen, *words = keys_and_words[keys:]
        for at in range(0, len(words), 3):
            key, id_, message = words[at : at + 3]
            self.xadd(key, {"m": message}, id=id_, maxlen=maxlen)

    def hset(
        self,
        key: str,
        name: str | None = None,
        value: str | None = None,
        mapping: dict[str, Any] | None = None,
    ) -> None:
        fields = mapping or {str(name): value}
        encoded = {
            field.encode(): text if isinstance(text, bytes) else str(text).encode()
            for field, text in fields.items()
        }
        self._commands.append(lambda: self._redis.set(key, encoded))
        self._writes = True

    def delete(self, key: str) -> None:
        self._commands.append(lambda: self._redis.evict(key))

    def xrevrange(self, key: str, max: str, count: int) -> None:
        assert count == 1, "the newest"
        self._commands.append(lambda: self._redis.newest(key, None if max == "+" else int(max)))

    async def execute(self) -> list[object]:
        await self._pause("EXEC")
        if self._redis.full and self._writes:
            raise ResponseError("OOM command not allowed when used memory > 'maxmemory'.")
        if self._watched not in (None, self._redis.moves):
            raise WatchError("Watched variable changed.")
        results = [command() for command in self._commands]
        await self._pause("EXEC done")
        return results
