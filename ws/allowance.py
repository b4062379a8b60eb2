"""Pure: how much a client may say. Buckets with one second's worth."""


class Allowance:
    """`take` is True as long as there was one left; a clock that is set back gives nothing."""

    __slots__ = ("_at_s", "_left", "_per_s")

    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        self._left = float(per_s)
        self._at_s = 0.0

    def take(self, now_s: float, amount: float = 1) -> bool:
        refilled = self._left + max(0.0, now_s - self._at_s) * self._per_s
        self._left = min(float(self._per_s), refilled)
        self._at_s = now_s
        if self._left < amount:
            return False
        self._left -= amount
        return True


class Budget:
    """Messages and bytes per second of one speaker: a connection, or an address with all its."""

    __slots__ = ("_bytes", "_bytes_per_s", "_messages", "_messages_per_s", "_speaker")

    def __init__(self, messages_per_s: int, bytes_per_s: int, speaker: str) -> None:
        self._messages_per_s, self._bytes_per_s = messages_per_s, bytes_per_s
        self._messages, self._bytes = Allowance(messages_per_s), Allowance(bytes_per_s)
        self._speaker = speaker

    def hear(self, message: str | bytes, now_s: float) -> str | None:
        """Count a message. If it is one too many, why."""
        if not self._messages.take(now_s):
            return f"more than {self._messages_per_s} messages per second of one {self._speaker}"
        size = len(message if isinstance(message, bytes) else message.encode())
        if not self._bytes.take(now_s, size):
            return f"more than {self._bytes_per_s} bytes per second of one {self._speaker}"
        return None
