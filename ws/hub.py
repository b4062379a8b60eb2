"""Who listens to what in Binance's dialect: an event is encoded once and written to many.

What waits for a client is bounded in bytes. Who does not keep up loses its place, not our memory.
"""

import msgspec

from ws.channels import Channel
from ws.limits import RESTARTED, SLOW
from ws.outlet import Outlet, text_frame


class Client:
    """One connection's outgoing side. Written to without waiting."""

    def __init__(self, outlet: Outlet, queue_bytes: int, *, combined: bool = False) -> None:
        self.outlet = outlet
        self.combined = combined
        self.retractions = False
        self.limit = queue_bytes
        self.leaving = False
        self.frames = 0
        """Frames written so far."""

    def offer(self, frame: bytes) -> bool:
        """Write a frame. False if that would be one too many: then this is the end."""
        if self.leaving:
            return True
        if self.outlet.buffered() + len(frame) > self.limit:
            self.close(SLOW, f"more than {self.limit} bytes behind")
            return False
        self.frames += 1
        self.outlet.write(frame)
        return True

    def close(self, code: int, reason: str) -> None:
        """Nothing more after what is buffered."""
        if not self.leaving:
            self.leaving = True
            self.outlet.farewell(code, reason)


class Hub:
    """All clients of this process, by channel and by the name they know it under."""

    def __init__(self) -> None:
        self.clients: set[Client] = set()
        self._listeners: dict[Channel, dict[str, set[Client]]] = {}
        self.slow_clients = 0
        """Clients told SLOW so far."""
        self.frames = 0
        """Frames written so far."""

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

    @property
    def channels(self) -> list[Channel]:
        """Those that somebody listens to."""
        return list(self._listeners)

    def publish(self, channel: Channel, event: bytes, *, retraction: bool = False) -> None:
        """Offer an event to everyone on its channel, bare or wrapped in the name they gave it.

        A `retraction` only goes to who asked for such.
        """
        bare = text_frame(event)
        for stream, clients in self._listeners.get(channel, {}).items():
            wrapped = b""
            for client in clients:
                if retraction and not client.retractions:
                    continue
                frame = bare
                if client.combined:
                    frame = wrapped = wrapped or text_frame(_wrap(stream, event))
                self.frames += 1
                if not client.offer(frame):
                    self.slow_clients += 1

    def dismiss(self, reason: str) -> None:
        """Close everyone: what they hold continues nothing of ours."""
        for client in self.clients:
            client.close(RESTARTED, reason)


def _wrap(stream: str, event: bytes) -> bytes:
    return b'{"stream":' + msgspec.json.encode(stream) + b',"data":' + event + b"}"
