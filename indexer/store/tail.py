"""One reader per process: every stream of the chain, from where it stands.

Each gateway has its own cursor, so replicas do not split the feed. It starts at the newest entries
and from there misses nothing: a lost connection is dialled again and read on from the same ids.
Only another epoch ends that: then the old history is gone, `on_new_history` is told, and the tail
starts at the newest entries of the new one.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from indexer.wire import STREAMS, Message, Times, stream_key

_log = logging.getLogger("tidebook.tail")

BLOCK_MS = 1_000
"""Longest wait for an entry; after it the epoch is looked at."""
READ_ENTRIES = 1_000
"""Entries of one stream taken at once."""
REDIAL_MIN_S, REDIAL_MAX_S = 0.05, 1.0
ANSWER_TIMEOUT_S = 5.0
"""Beyond the wait for entries: when a silent server counts as gone."""
START = b"0-0"

_decode = msgspec.json.Decoder(Message).decode
_decode_times = msgspec.json.Decoder(Times).decode


class Tail:
    """Reads until cancelled. Raises only what `on_messages` raises and what no server explains."""

    def __init__(
        self,
        redis_url: str,
        chain_id: int,
        on_messages: Callable[[list[Message]], Awaitable[None]],
        on_new_history: Callable[[], Awaitable[None]],
    ) -> None:
        self._redis = redis.Redis.from_url(
            redis_url,
            protocol=2,  # with 3, XREAD answers in another shape
            socket_timeout=BLOCK_MS / 1000 + ANSWER_TIMEOUT_S,
            socket_connect_timeout=ANSWER_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        self._on_messages = on_messages
        self._on_new_history = on_new_history
        self._keys = [stream_key(chain_id, stream).encode() for stream in STREAMS]
        self._cursors: dict[bytes, bytes] = {}
        self.connected = False
        self.positioned = asyncio.Event()
        """Set once we know where to read on: nothing published after it is missed."""
        self.epoch: str | None = None
        self.seq = 0
        """The newest message read or, at first, found."""
        self.times: list[Times] = []
        """Of the batches that the messages just read came in."""

    async def run(self) -> None:
        """Follow the streams; dial again for as long as it takes."""
        delay_s = REDIAL_MIN_S
        is_told = False
        try:
            while True:
                try:
                    await self._check_epoch()
                    self.connected, is_told = True, False
                    self.positioned.set()
                    delay_s = REDIAL_MIN_S
                    while True:
                        await self._read()
                except (RedisError, OSError) as error:
                    if not is_told:
                        what = "lost" if self.connected else "no"
                        _log.warning("%s Redis (%s): dialling until it is there", what, error)
                    self.connected, is_told = False, True
                    await asyncio.sleep(delay_s)
                    delay_s = min(2 * delay_s, REDIAL_MAX_S)
        finally:
            self.connected = False
            await self._redis.aclose()

    async def _read(self) -> None:
        cursors: Any = self._cursors
        replies: Any = await self._redis.xread(cursors, count=READ_ENTRIES, block=BLOCK_MS)
        if not replies:
            await self._check_epoch()
            return
        self.times = []
        messages = _in_order(replies)
        if self.epoch is not None and any(one.epoch != self.epoch for one in messages):
            await self._check_epoch()
            return
        for key, entries in replies:
            taken = [id_ for id_, _ in entries if _seq(id_) <= messages[-1].seq]
            self._cursors[key] = taken[-1] if taken else self._cursors[key]
            self.times += [_decode_times(one[b"t"]) for _, one in entries if b"t" in one]
        self.epoch = messages[-1].epoch
        self.seq = messages[-1].seq
        await self._on_messages(messages)

    async def _check_epoch(self) -> None:
        """Look at the newest entries: the same history goes on, another one begins."""
        async with self._redis.pipeline(transaction=True) as pipe:
            for key in self._keys:
                pipe.xrevrange(key, count=1)
            newest = dict(zip(self._keys, await pipe.execute(), strict=True))
        ends = {key: entries[0] for key, entries in newest.items() if entries}
        messages = [_decode(fields[b"m"]) for _, fields in ends.values()]
        strange = [one for one in messages if one.epoch != self.epoch]
        if self._cursors and (self.epoch is None or not strange):
            return  # nothing there (yet), or the history we know
        known = bool(self._cursors)
        last = max(strange, key=lambda message: message.seq, default=None)
        self._cursors = {key: ends[key][0] if key in ends else START for key in self._keys}
        self.epoch = last.epoch if last else None
        self.seq = last.seq if last else 0
        if known:
            await self._on_new_history()


def _in_order(replies: Any) -> list[Message]:
    """What the streams say, in one order; without what comes behind the end of a cut reply."""
    cut = [_seq(entries[-1][0]) for _, entries in replies if len(entries) == READ_ENTRIES]
    last = min(cut, default=None)
    messages = [
        _decode(fields[b"m"])
        for _, entries in replies
        for id_, fields in entries
        if last is None or _seq(id_) <= last
    ]
    return sorted(messages, key=lambda message: message.seq)


def _seq(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[0])
