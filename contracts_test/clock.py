"""Which timestamp the next block gets."""

from __future__ import annotations

import time


class Clock:
    """Wall clock plus an offset, or a fixed step when blocks must come out the same every time."""

    def __init__(self, step_s: int | None) -> None:
        self.step_s = step_s
        self.offset_s = 0
        self._next: int | None = None
        self._pending_s = 0  # evm_increaseTime in step mode, used by the next block

    def now(self) -> int:
        """The wall clock as this chain sees it, in seconds."""
        return int(time.time()) + self.offset_s

    def set_next(self, timestamp: int) -> None:
        """The next block carries exactly this timestamp."""
        self._next = timestamp

    def set_now(self, timestamp: int) -> int:
        """Moves the clock to a time; returns the resulting offset from the wall clock."""
        if self.step_s is None:
            self.offset_s = timestamp - int(time.time())
        else:
            self._next = timestamp
        return self.offset_s

    def increase(self, seconds: int) -> int:
        """Moves the clock on; returns the sum of all moves."""
        self.offset_s += seconds
        self._pending_s += seconds
        return self.offset_s

    def next_timestamp(self, parent: int, step_s: int | None = None) -> int:
        """The timestamp of a block whose parent has `parent`, at least one second later."""
        if self._next is not None:
            return max(parent + 1, self._next)
        if step_s is not None:
            timestamp = parent + max(step_s, 1)
            if self.step_s is None:  # time goes on from there, as it does with anvil
                self.offset_s = max(self.offset_s, timestamp - int(time.time()))
            return timestamp
        if self.step_s is not None:
            return parent + max(self.step_s, 1) + self._pending_s
        return max(parent + 1, self.now())

    @property
    def hands(self) -> tuple[int, int | None, int]:
        """Everything that was set by hand; the rest is the wall clock's."""
        return self.offset_s, self._next, self._pending_s

    @hands.setter
    def hands(self, hands: tuple[int, int | None, int]) -> None:
        self.offset_s, self._next, self._pending_s = hands

    def consumed(self) -> None:
        """A block was mined: what was set for one block is over."""
        if self._next is not None and self.step_s is None:
            self.offset_s = max(self.offset_s, self._next - int(time.time()))
        self._next = None
        self._pending_s = 0
