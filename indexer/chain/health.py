"""How one provider is doing: what it was asked, how it answered, and whether to ask it now.

Pure: whoever calls says what time it is.
"""

from collections import Counter
from typing import Literal

import msgspec

from indexer.chain.errors import BadAnswer, BlockGone, ChainError, RpcError, Unreachable, WrongNode

State = Literal["ok", "quarantined", "down", "excluded"]
"""Asked; caught in a lie; does not answer; follows another chain, and is not asked again."""

QUARANTINE_S = 5.0
"""Pause after a lie, doubled with each further one."""
MAX_QUARANTINE_S = 600.0
FORGIVEN_S = 600.0
"""So long without a lie, and the next one counts as the first."""
DOWN_S = 1.0
"""Pause before a provider that did not answer is tried, doubled with each further failure."""
MAX_DOWN_S = 30.0

MEMORY = 0.1
"""Weight of the newest answer in the averages of errors and latency."""
MAX_SCORE = 100.0
ERRORS_COST, LATENCY_COST, BEHIND_COST = 50.0, 20.0, 30.0
"""What the score loses at most for each."""
LATENCY_COST_S, BEHIND_COST_BLOCKS = 10.0, 5.0
"""Points for each second, and for each block behind the best head."""


class Report(msgspec.Struct, frozen=True):
    """A provider as an operator sees it. `url` is without secrets, `score` of 100."""

    url: str
    state: State
    score: int
    head: int | None
    faults: dict[str, int]
    last_fault: str | None


class Health:
    """One provider's record."""

    def __init__(self) -> None:
        self.state: State = "ok"
        self.until = 0.0
        """When a provider that is not ok may be tried again."""
        self.head: int | None = None
        self.faults: Counter[str] = Counter()
        self.last_fault: str | None = None
        self._errors = 0.0
        self._latency_s = 0.0
        self._lies = self._failures = 0
        self._lied_at = 0.0

    def answered(self, latency_s: float) -> None:
        self._errors += MEMORY * (0 - self._errors)
        self._latency_s += MEMORY * (latency_s - self._latency_s)
        self._failures = 0

    def saw(self, head: int) -> None:
        self.head = head

    def failed(self, error: ChainError, now: float) -> None:
        """Count an error, and draw the conclusion."""
        if isinstance(error, BlockGone):
            return  # it happens to the best
        kind = type(error).__name__
        self.last_fault = str(error)
        self._errors += MEMORY * (1 - self._errors)
        match error:
            case WrongNode():
                self.state = "excluded"
            case BadAnswer():
                kind = "lie"
                self._lies = 1 if now - self._lied_at > FORGIVEN_S else self._lies + 1
                self._lied_at = now
                pause_s = min(QUARANTINE_S * 2.0 ** (self._lies - 1), MAX_QUARANTINE_S)
                self.state, self.until = "quarantined", now + pause_s
            case Unreachable():
                kind = "unreachable"
                pause_s = min(DOWN_S * 2.0 ** min(self._failures, 20), MAX_DOWN_S)
                self._failures += 1
                self.state, self.until = "down", now + max(pause_s, min(error.retry_after_s, 3_600))
            case RpcError():
                kind = "refused"
            case _:
                raise AssertionError(f"no node raises {error!r}")
        self.faults[kind] += 1

    def released(self) -> None:
        """It may be asked again: it answers, and follows our chain."""
        self.state = "ok"

    def score(self, best_head: int | None) -> float:
        """What speaks for asking this one: 100 if it is fast, never fails and is at the head."""
        behind = 0 if best_head is None or self.head is None else max(best_head - self.head, 0)
        return (
            MAX_SCORE
            - ERRORS_COST * self._errors
            - min(LATENCY_COST_S * self._latency_s, LATENCY_COST)
            - min(BEHIND_COST_BLOCKS * behind, BEHIND_COST)
        )
