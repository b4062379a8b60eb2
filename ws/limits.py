"""What one client, and all of them together, may take from us."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Named limits with their units. Those of Binance are Binance's numbers."""

    connections: int = 10_000
    """Open connections of this process; above it the handshake answers 503."""
    connections_per_address: int = 300
    """Open connections from one address; above it the handshake answers 429."""
    origins: tuple[str, ...] = ()
    """Origins whose pages may connect, besides our own host; `*` for all."""
    streams_per_connection: int = 1024
    subscriptions_per_address: int = 20_000
    """Streams and channels of all connections of one address."""
    inbound_per_s: int = 5
    """Messages a client may send in a second; above it the connection closes with 1008."""
    native_inbound_per_s: int = 50
    """The same for a client of `/v1`, which asks for its channels one by one."""
    inbound_bytes_per_s: int = 256 * 1024
    """Bytes a client may send in a second; above it the connection closes with 1008."""
    address_inbound_per_s: int = 1_000
    """Messages per second of all connections of one address: who exceeds it is closed."""
    address_inbound_bytes_per_s: int = 2 * 1024 * 1024
    """The same in bytes."""
    inbound_bytes: int = 64 * 1024
    """Bytes of one message from a client; above it the connection closes with 1009."""
    queue_bytes: int = 1024 * 1024
    """Bytes waiting for one client. At half of it books and other states are kept back, to be told
    anew when the client has caught up; above it the connection closes with SLOW."""
    send_buffer_bytes: int = 256 * 1024
    """What the kernel may hold for one client besides (Linux doubles it)."""
    replay_messages: int = 10_000
    """Messages of one channel sent again to who resumes; further behind it gets a snapshot."""
    heartbeat_s: float = 1.0
    """Seconds between the heartbeats of `/v1`."""
    ping_interval_s: float = 20.0
    """Seconds between our pings."""
    pong_timeout_s: float = 60.0
    """Seconds a client has to answer one; then the connection closes."""


SHUTDOWN_JITTER_MS = 5_000
"""Clients of a gateway that stops are spread over this many milliseconds when they come again."""

SLOW = 3008
"""Close code: the client reads more slowly than its streams come. 3000 to 3499: reconnect."""
RESTARTED = 1012
"""Close code: the history we served has been replaced; take a new snapshot."""
POLICY = 1008
NOT_TEXT = 1003
