"""Who listens to what: an event is encoded once and offered to many.

A client's queue is bounded in bytes. Who does not keep up loses its place, not our memory.
"""

import asyncio
from collections import deque
from typing import NamedTuple

import msgspec

from ws.channels import Channel
from ws.limits import RESTARTED, SLOW


class Frame(NamedTuple):
    """A text ready to be sent, with its length in bytes."""

    text: str
    size: int

    @classmethod
    def of(cls, encoded: bytes) -> "Frame":
        return cls(encoded.decode(), len(encoded))


class Farewell(NamedTuple):
    """The last thing a client gets: a close code and its reason."""

    code: int
    reason: str


class Client:
    """One connection's outgoing queue. Filled without waiting, emptied by its sender."""

    def __init__(self, queue_bytes: int, *, combined: bool) -> None:
        self.combined = combined
        self._limit = queue_bytes
        self._frames: deque[Frame] = deque()
        self._size = 0
        self._farewell: Farewell | None = None
        self._news = asyncio.Event()

    @property
    def leaving(self) -> bool:
        return self._farewell is not None

    def offer(self, frame: Frame) -> bool:
        """Queue a frame. False if that was one too many: the queue is dropped, the end is near."""
        if self._farewell is not None:
            return True
        if self._size + frame.size > self._limit:
            self._frames.clear()
            self._size = 0
            self.close(SLOW, f"more than {self._limit} bytes behind")
            return False
        self._frames.append(frame)
        self._size += frame.size
        self._news.set()
        return True

    def close(self, code: int, reason: str) -> None:
        """Nothing more after what is queued."""
        self._farewell = self._farewell or Farewell(code, reason)
        self._news.set()

    async def take(self) -> Frame | Farewell:
        """The next thing to send; waits for one."""
        while True:
            if self._frames:
                frame = self._frames.popleft()
                self._size -= frame.size
                return frame
            if self._farewell is not None:
                return self._farewell
            self._news.clear()
            await self._news.wait()


class Hub:
    """All clients of this process, by channel and by the name they know it under."""

    def __init__(self) -> None:
        self.clients: set[Client] = set()
        self._listeners: dict[Channel, dict[str, set[Client]]] = {}
        self.slow_clients = 0
        """Clients told SLOW so far."""
        self.frames = 0
        """Frames queued so far."""

    def __len__(self) -> int:
        return len(self.clients)

    def join(self, client: Client, stream: str, channel: Channel) -> None:
        self._listeners.setdefault(channel, {}).setdefault(stream, set()).add(client)

    def leave(self, client: Client, stream: str, channel: Channel) -> None:
        streams = self._listeners[channel]
        streams[stream].discard(client)
        if not streams[stream]:
            del streams[stream]
        if not streams:
            del self._listeners[channel]

    def wants(self, channel: Channel) -> bool:
        """Whether anybody listens: what nobody wants need not be encoded."""
        return channel in self._listeners

    def publish(self, channel: Channel, event: bytes) -> None:
        """Offer an event to everyone on its channel, bare or wrapped in the name they gave it."""
        bare = Frame.of(event)
        for stream, clients in self._listeners.get(channel, {}).items():
            wrapped: Frame | None = None
            for client in clients:
                frame = bare
                if client.combined:
                    wrapped = wrapped or _wrap(stream, event)
                    frame = wrapped
                self.frames += 1
                if not client.offer(frame):
                    self.slow_clients += 1

    def dismiss(self, reason: str) -> None:
        """Close everyone: what they hold continues nothing of ours."""
        for client in self.clients:
            client.close(RESTARTED, reason)


def _wrap(stream: str, event: bytes) -> Frame:
    return Frame.of(b'{"stream":' + msgspec.json.encode(stream) + b',"data":' + event + b"}")
