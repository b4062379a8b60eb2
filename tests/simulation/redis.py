"""A Redis that can be emptied, fail over, fill up or drop keys: what `RedisStreams` needs of one.

`Redis` is the server, `Connection` one client: MULTI, EXEC and EVAL mean what they mean there.
"""

from bisect import bisect_right
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from lupa.lua51 import LuaRuntime  # type: ignore[import-untyped]
from redis.exceptions import ResponseError

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
        self.writes = 0
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
        self.writes += 1

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
        self.writes += 1

    def set(self, key: str, fields: dict[bytes, bytes]) -> None:
        self.hashes.setdefault(key, {}).update(fields)
        if b"epoch" in fields:
            self._positions = []
        self._positions.append(dict(self.position))
        self.writes += 1

    def xadd(self, key: str, seq: int, message: str) -> None:
        stream = self.streams.setdefault(key, [])
        if stream and seq <= stream[-1][0]:
            raise ResponseError("The ID specified in XADD is equal or smaller than the target's")
        known = self._told.setdefault((self.position.get(b"epoch"), seq), message)
        assert known == message, f"seq {seq} was {known}, and is {message} now"
        stream.append((seq, message))
        self.writes += 1

    def xtrim(self, key: str, maxlen: int) -> None:
        stream = self.streams[key]
        gone = stream[: -min(maxlen, self.longest)]
        self.trimmed = self.trimmed or bool(gone)
        del stream[: len(gone)]
        self.writes += 1

    def foreign(self) -> Entries:
        """Entries of another epoch than the one that is told."""
        epoch = self.position.get(b"epoch")
        return [entry for entry in self.entries() if self._told.get((epoch, entry[0])) != entry[1]]


class Connection:
    """A client. Every command can wait and fail, before its effect and behind it."""

    def __init__(self, redis: Redis, pause: Pause) -> None:
        self._redis = redis
        self._pause = pause

    async def hget(self, key: str, name: str) -> bytes | None:
        await self._pause("HGET")
        return self._redis.hashes.get(key, {}).get(name.encode())

    async def eval(self, script: str, keys: int, *words: object) -> Any:
        """The script itself runs, in the Lua that Redis has."""
        await self._pause("EVAL")
        told = [str(word).encode() if not isinstance(word, bytes) else word for word in words]
        found = Script(self._redis).run(script, told[:keys], told[keys:])
        await self._pause("EVAL done")
        return found

    def pipeline(self, *, transaction: bool) -> "Pipeline":
        assert transaction, "nothing is written but together"
        return Pipeline(self._redis, self._pause)


class Script:
    """What a script may call."""

    lua: Any = LuaRuntime(encoding=None)

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def run(self, script: str, keys: list[bytes], words: list[bytes]) -> Any:
        made = self.lua.execute(f"return function(KEYS, ARGV, redis) {script} end")
        table = self.lua.table_from
        found = made(table(keys), table(words), table({b"call": self._call}))
        return found if isinstance(found, int) else list(found.values())

    def _call(self, command: bytes, key: bytes, *words: Any) -> Any:
        """Lua has no place for what is not there: false."""
        redis, stored, at = self._redis, self._redis.hashes.get(key.decode(), {}), key.decode()
        table = self.lua.table_from
        match command, words:
            case b"HMGET", names:
                return table([stored.get(name, False) for name in names])
            case b"HGET", (name,):
                return stored.get(name, False)
            case b"HGETALL", ():
                return table([word for field in stored.items() for word in field])
            case b"XREVRANGE", (b"+", b"-", b"COUNT", 1):
                stream = redis.streams.get(at, [])
                return table([table([f"{seq}-0".encode()]) for seq, _ in stream[-1:]])
            case ((b"HSET" | b"XADD"), _) if redis.full:
                raise ResponseError("OOM command not allowed when used memory > 'maxmemory'.")
            case b"HSET", fields:
                return redis.set(at, dict(zip(fields[::2], fields[1::2], strict=True)))
            case b"XADD", (id_, b"m", message):
                return redis.xadd(at, int(id_.removesuffix(b"-0")), message.decode())
            case b"XTRIM", (b"MAXLEN", b"~", most):
                return redis.xtrim(at, int(most))
            case _:
                raise AssertionError(f"{command!r} {words} is not expected of the relay")


class Pipeline:
    """Commands for one EXEC."""

    def __init__(self, redis: Redis, pause: Pause) -> None:
        self._redis = redis
        self._pause = pause
        self._commands: list[Callable[[], object]] = []
        self._writes = False
        """Anything that needs memory."""

    async def __aenter__(self) -> "Pipeline":
        return self

    async def __aexit__(self, *_: object) -> None:
        """What was not executed is forgotten."""

    def hset(self, key: str, mapping: dict[str, str]) -> None:
        encoded = {field.encode(): text.encode() for field, text in mapping.items()}
        self._commands.append(lambda: self._redis.set(key, encoded))
        self._writes = True

    def delete(self, key: str) -> None:
        self._commands.append(lambda: self._redis.evict(key))

    async def execute(self) -> None:
        await self._pause("EXEC")
        if self._redis.full and self._writes:
            raise ResponseError("OOM command not allowed when used memory > 'maxmemory'.")
        for command in self._commands:
            command()
        await self._pause("EXEC done")
