"""Who listens to what in Binance's dialect: an event is encoded once and written to many.

What waits for a client is bounded in bytes. Who does not keep up loses its place, not our memory:
books and other states are told to it again once it has caught up, in one event for all that it
missed; of trades and accounts nothing may be missing, so there it is closed.
"""

import msgspec

from ws.channels import Channel
from ws.limits import RESTARTED, SLOW
from ws.missed import FACTS, Missed
from ws.outlet import Outlet, text_frame
from ws.tally import Tally

RESUME_SHARE = 4
"""A slow client is told what it missed once it has taken all but this part of its limit."""


class Client:
    """One connection's outgoing side. Written to without waiting."""

    def __init__(self, outlet: Outlet, queue_bytes: int, *, combined: bool = False) -> None:
        self.outlet = outlet
        self.combined = combined
        self.retractions = False
        self.limit = queue_bytes
        self.leaving = False
        self.position = ""
        """The newest message it was told of, as `epoch/seq`."""
        self.missed: dict[str, Missed] = {}
        """Streams that it was too slow for."""

    @property
    def caught_up(self) -> bool:
        return self.outlet.buffered() <= self.limit // RESUME_SHARE

    def offer(self, frame: bytes) -> bool:
        """Write a frame. False if that would be one too many: then this is the end."""
        if self.leaving:
            return True
        if self.outlet.buffered() + len(frame) > self.limit:
            self.close(SLOW, f"too slow: resume on /v1 from {self.position}")
            return False
        self.outlet.write(frame)
        return True

    def offer_state(self, frame: bytes, stream: str, event: bytes) -> bool:
        """Write what can be told later, too, or keep it until then. True unless it was kept."""
        if self.leaving:
            return True
        if stream not in self.missed:
            if self.outlet.buffered() + len(frame) <= self.limit // 2:
                self.outlet.write(frame)
                return True
            self.missed[stream] = Missed()
        if not self.missed[stream].add(event):
            self.close(SLOW, "too slow: read the book anew")
        return False

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
        self._behind: set[Client] = set()
        self.position = ""
        """The newest message told, as `epoch/seq`."""
        self.tally = Tally()

    def __len__(self) -> int:
        return len(self.clients)

    def join(self, client: Client, stream: str, channel: Channel) -> None:
        client.position = client.position or self.position
        self._listeners.setdefault(channel, {}).setdefault(stream, set()).add(client)

    def leave(self, client: Client, stream: str, channel: Channel) -> None:
        """Take a stream away. Nothing happens if the client does not have it."""
        client.missed.pop(stream, None)
        streams = self._listeners.get(channel, {})
        if stream in streams:
            streams[stream].discard(client)
            if not streams[stream]:
                del streams[stream]
            if not streams:
                del self._listeners[channel]

    def part(self, client: Client) -> None:
        """A connection has ended; it has left its channels."""
        self.clients.discard(client)
        self._behind.discard(client)

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
        bare, facts = text_frame(event), channel.kind in FACTS
        for stream, clients in self._listeners.get(channel, {}).items():
            wrapped = b""
            for client in clients:
                if retraction and not client.retractions:
                    continue
                frame = bare
                if client.combined:
                    frame = wrapped = wrapped or text_frame(_wrap(stream, event))
                if facts:
                    self._offer(client, frame)
                elif client.offer_state(frame, stream, event):
                    self.tally.frames += 1
                else:
                    self._behind.add(client)

    def tend(self) -> None:
        """Tell slow clients that have caught up what they have missed."""
        for client in list(self._behind):
            while client.missed and client.caught_up and not client.leaving:
                stream = next(iter(client.missed))
                event = client.missed.pop(stream).take()
                self.tally.coalesced += 1
                if client.retractions:
                    self._offer(client, text_frame(_notice(stream)))
                self._offer(client, text_frame(_wrap(stream, event) if client.combined else event))
            if client.leaving or not client.missed:
                client.missed.clear()
                self._behind.discard(client)

    def dismiss(self, reason: str) -> None:
        """Close everyone: what they hold continues nothing of ours."""
        for client in self.clients:
            client.close(RESTARTED, reason)

    def _offer(self, client: Client, frame: bytes) -> None:
        self.tally.frames += 1
        if client.offer(frame):
            client.position = self.position
        else:
            self.tally.slow_clients += 1


def _wrap(stream: str, event: bytes) -> bytes:
    return b'{"stream":' + msgspec.json.encode(stream) + b',"data":' + event + b"}"


def _notice(stream: str) -> bytes:
    """Not Binance's: for those who asked for words of ours."""
    return msgspec.json.encode({"e": "coalesced", "stream": stream})
