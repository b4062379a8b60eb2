"""Pure: who may come in, and how much one address may ask of us over all its connections."""

from urllib.parse import urlsplit

from ws.allowance import Budget
from ws.limits import Limits


class Shut(Exception):
    """A handshake we answer with an HTTP status and words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


class Guest:
    """One address: what its connections take together."""

    def __init__(self, address: str, limits: Limits) -> None:
        self.address = address
        self.connections = 0
        self.subscriptions = 0
        self.budget = Budget(
            limits.address_inbound_per_s, limits.address_inbound_bytes_per_s, "address"
        )


class Door:
    """Counts who is in. Every `enter` that does not raise is followed by one `leave`."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.inside = 0
        self.guests: dict[str, Guest] = {}
        self.turned_away = 0

    def enter(self, address: str, origin: str | None, host: str | None) -> Guest:
        """Raises Shut."""
        limits = self._limits
        if not allowed_origin(origin, host, limits.origins):
            self._refuse(403, f"origin {origin} is not allowed")
        if self.inside >= limits.connections:
            self._refuse(503, f"at most {limits.connections} connections")
        guest = self.guests.get(address) or Guest(address, limits)
        if guest.connections >= limits.connections_per_address:
            self._refuse(429, f"at most {limits.connections_per_address} connections per address")
        self.guests[address] = guest
        self.inside += 1
        guest.connections += 1
        return guest

    def leave(self, guest: Guest, subscriptions: int) -> None:
        """A connection has ended that had so many subscriptions."""
        self.inside -= 1
        guest.connections -= 1
        guest.subscriptions -= subscriptions
        if not guest.connections:
            del self.guests[guest.address]

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
