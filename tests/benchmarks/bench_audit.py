"""What the second witness costs: a fold of a recording with its audit and without it.

.venv/bin/python tests/benchmarks/bench_audit.py
"""

import sys
import time
from typing import Any
from unittest import mock

from indexer.mirror import block
from indexer.mirror.audit import Audit
from indexer.mirror.fold import Mirror
from tests.model.recorded import NAMES, Blocks, recorded

ROUNDS = 15
MOST_COST = 0.30


class _NoAudit:
    """Sees nothing. (Stale levels then stay in the tree for ever; only the cost is of interest.)"""

    divergences = ()

    def __init__(self, *_: Any) -> None: ...
    def begin(self, *_: Any) -> None: ...
    def met(self, *_: Any) -> None: ...
    def go_on(self) -> None: ...
    def end(self) -> None: ...
    def running(self, *_: Any) -> None: ...
    def cancelled(self, *_: Any) -> bool:
        return False

    def expired(self, *_: Any) -> bool:
        return False


def fold_s(name: str, blocks: Blocks, audit: Any) -> float:
    """CPU seconds of one fold."""
    deployment, tokens, _ = recorded(name)
    with mock.patch.object(block, "Audit", audit):
        start = time.process_time()
        mirror = Mirror(deployment)
        for one, events in blocks:
            mirror.apply(one, events, tokens)
        return time.process_time() - start


def cost(name: str) -> float:
    """The audit's part of a fold's time, over a fold without it. Best of interleaved runs."""
    blocks = recorded(name)[2]
    pairs = [(fold_s(name, blocks, Audit), fold_s(name, blocks, _NoAudit)) for _ in range(ROUNDS)]
    with_s, without_s = min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)
    events = sum(len(events) for _, events in blocks)
    sys.stdout.write(
        f"{name:16} {events:7,} events {without_s * 1000:7.1f} ms without, "
        f"{with_s * 1000:7.1f} ms with audit: {with_s / without_s - 1:6.1%}\n"
    )
    return with_s / without_s - 1


def test_auditing_costs_less_than_three_tenths_of_a_fold() -> None:
    assert cost("scalex_main") < MOST_COST


if __name__ == "__main__":
    sys.exit(0 if max(map(cost, NAMES)) < MOST_COST else 1)
