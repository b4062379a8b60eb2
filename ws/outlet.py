"""A connection's way out: frames are made once and written as they are, past every layer.

Uvicorn's protocol frames each message for each client. We write the same bytes to all instead,
which halves the cost of a fan-out; what that leaves to us is to watch how much waits in the
transport.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from ws.limits import Limits

TEXT = 0x81
"""A whole text message in one frame."""
TURN_BYTES = 16 * 1024
"""Bytes for one client that go out without waiting for the end of the loop's turn."""
FAREWELL_S = 10.0
"""Seconds that a client has to read what is left, once we have said goodbye."""
MAX_REASON_BYTES = 123


def text_frame(payload: bytes) -> bytes:
    """A text message as a server sends it: not masked, not compressed."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", TEXT, size) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", TEXT, 126, size) + payload
    return struct.pack("!BBQ", TEXT, 127, size) + payload


class Outlet(Protocol):
    """What a client's outgoing side must be able to do; nothing of it waits but `drained`."""

    def write(self, frame: bytes) -> None: ...

    def buffered(self) -> int: ...

    def farewell(self, code: int, reason: str) -> None: ...

    async def drained(self) -> None: ...


class Line(WebSocketsSansIOProtocol):
    """Uvicorn's websocket connection, open to us. An application finds it as `state["line"]`."""

    limits = Limits()
    unsent: ClassVar[list["Line"]] = []
    """Connections with frames that go out at the end of the loop's turn."""
    last_words: Callable[[], None] | None = None
    """Called before the server closes the connection because it stops."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._frames: list[bytes] = []
        self._frames_bytes = 0
        pipe = transport.get_extra_info("socket")
        pipe.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.limits.send_buffer_bytes)

    def handle_connect(self, event: Any) -> None:
        self.app_state = {**self.app_state, "line": self}
        super().handle_connect(event)

    def handle_ping(self) -> None:
        """Answer a ping, unless the answers pile up: who sends pings need not read."""
        pong = b"".join(self.conn.data_to_send())
        if self.buffered() < self.limits.queue_bytes:
            self.transport.write(pong)

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self._cut_off_later()

    def handle_parser_exception(self) -> None:
        super().handle_parser_exception()
        self._cut_off_later()

    def shutdown(self) -> None:
        if self.last_words is not None and not self.close_sent:
            self.last_words()
        self._send()
        super().shutdown()

    def write(self, frame: bytes) -> None:
        """Send what `text_frame` made, together with all else of this turn: one call a client."""
        if not self._frames:
            if not self.unsent:
                self.loop.call_soon(_send_all, self.unsent)
            self.unsent.append(self)
        self._frames.append(frame)
        self._frames_bytes += len(frame)
        if self._frames_bytes > TURN_BYTES:
            self._send()

    def _send(self) -> None:
        """Hand over what waits; to who is leaving, nothing behind the goodbye."""
        frames, self._frames, self._frames_bytes = self._frames, [], 0
        if frames and not (self.close_sent or self.disconnected or self.transport.is_closing()):
            self.transport.write(frames[0] if len(frames) == 1 else b"".join(frames))

    def buffered(self) -> int:
        """Bytes that the client has not taken yet."""
        return self._frames_bytes + self.transport.get_write_buffer_size()

    async def drained(self) -> None:
        """Wait until the client has taken most of them, or is gone."""
        await self.writable.wait()

    def farewell(self, code: int, reason: str) -> None:
        """Close, after what is buffered; a client that does not read is cut off in the end."""
        if self.close_sent or self.disconnected or self.transport.is_closing():
            return
        self._send()
        brief = reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": brief})
        self.conn.send_close(code, brief)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self._cut_off_later()

    def _cut_off_later(self) -> None:
        """A client that does not read its goodbye must not hold what waits for it."""
        loop = asyncio.get_running_loop()
        self.close_timer = loop.call_later(FAREWELL_S, self.transport.abort)


def line_within(limits: Limits) -> type[Line]:
    """The protocol that connections of these limits speak."""
    return type("Line", (Line,), {"limits": limits, "unsent": []})


def _send_all(lines: list[Line]) -> None:
    turn = list(lines)
    lines.clear()
    for line in turn:
        line._send()
