"""Answers as they were sent, kept where the writer stands."""

from api.limits import MAX_KEPT_BYTES
from api.reads import Position


class Kept:
    """What was answered at the newest position seen.

    An answer is a function of what was asked and of the writer's position, which is what an ETag
    says too. So it is kept until a request sees another position; there everything goes.
    """

    def __init__(self) -> None:
        self._key: tuple[str, int, str | None] | None = None
        self._bodies: dict[str, bytes] = {}
        self._bytes = 0

    def __contains__(self, asked: str) -> bool:
        """Whether it is worth a look at the position."""
        return asked in self._bodies

    def body(self, position: Position, asked: str) -> bytes | None:
        """What was answered to this at this position."""
        self._turn_to(position)
        return self._bodies.get(asked)

    def keep(self, position: Position, asked: str, body: bytes) -> None:
        self._turn_to(position)
        size = len(asked) + len(body)  # a question may be much the longer of the two
        self._bytes += size
        if self._bytes > MAX_KEPT_BYTES:
            self._bodies, self._bytes = {}, size
        self._bodies[asked] = body

    def _turn_to(self, position: Position) -> None:
        key = (position.epoch, position.seq, position.hash)
        if key != self._key:
            self._key, self._bodies, self._bytes = key, {}, 0
