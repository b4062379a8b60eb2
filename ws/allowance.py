"""Pure: how much a client may say. A bucket with one second's worth."""


class Allowance:
    """`take` is True as long as there was one left; `now_s` is any clock that only goes forward."""

    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        self._left = float(per_s)
        self._at_s = 0.0

    def take(self, now_s: float, amount: float = 1) -> bool:
        refilled = self._left + (now_s - self._at_s) * self._per_s
        self._left = min(float(self._per_s), refilled)
        self._at_s = now_s
        if self._left < amount:
            return False
        self._left -= amount
        return True
