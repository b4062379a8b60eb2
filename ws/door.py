"""Pure: who may come in. Origins by an allow-list, connections counted in all and by address."""

from collections import Counter
from urllib.parse import urlsplit

from ws.limits import Limits


class Shut(Exception):
    """A handshake we answer with an HTTP status and words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


class Door:
    """Counts who is in. Every `enter` that does not raise is followed by one `leave`."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.inside = 0
        self.by_address: Counter[str] = Counter()
        self.turned_away = 0

    def enter(self, address: str, origin: str | None, host: str | None) -> None:
        """Raises Shut."""
        limits = self._limits
        if not allowed_origin(origin, host, limits.origins):
            self._refuse(403, f"origin {origin} is not allowed")
        if self.inside >= limits.connections:
            self._refuse(503, f"at most {limits.connections} connections")
        if self.by_address[address] >= limits.connections_per_address:
            self._refuse(429, f"at most {limits.connections_per_address} connections per address")
        self.inside += 1
        self.by_address[address] += 1

    def leave(self, address: str) -> None:
        self.inside -= 1
        self.by_address[address] -= 1
        if not self.by_address[address]:
            del self.by_address[address]

    def _refuse(self, status: int, words: str) -> None:
        self.turned_away += 1
        raise Shut(status, words)


def allowed_origin(origin: str | None, host: str | None, allowed: tuple[str, ...]) -> bool:
    """Whether a page of this origin may connect.

    Browsers always send one and do not keep pages from other origins out by themselves; programs
    send none. `*` allows all; our own host is allowed in any case.
    """
    if origin is None or "*" in allowed or origin in allowed:
        return True
    return host is not None and urlsplit(origin).netloc == host
