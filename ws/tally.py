"""Pure: what the clients of one dialect were sent."""


class Tally:
    """Counts that only grow."""

    def __init__(self) -> None:
        self.frames = 0
        self.slow_clients = 0
        """Clients told SLOW."""
        self.coalesced = 0
        """Times that a slow client was told anew, in one go, what it had missed of a channel."""
