"""Blocks read: what their logs mean, and those of the past as the row they become.

Nothing here knows the state, so the past may be read where it is fetched: in a process beside the
writer (scout.py).
"""

from collections.abc import Iterable

import msgspec

from indexer.decode import are_ours, created_markets, decode, select
from indexer.domain.deployment import Deployment
from indexer.domain.events import AnyEvent
from indexer.domain.logs import Logs, pack
from indexer.domain.step import Advance, Read
from indexer.domain.units import Address
from indexer.store.log_rows import copied


class Reader:
    """Reads blocks in order. `markets` are the order books known before them.

    Of a block only logs of contracts that are ours on its branch count. Raises MalformedLog.
    """

    def __init__(self, deployment: Deployment, markets: Iterable[Address]) -> None:
        self._deployment = deployment
        self._markets = set(markets)

    def read(self, step: Advance) -> tuple[Advance, list[AnyEvent]]:
        """A block at the head with our logs, and what they tell."""
        logs = self._ours(step)
        return msgspec.structs.replace(step, logs=logs), decode(step.block, logs)

    def read_past(self, step: Advance) -> Read:
        """A finalized block, whose logs are needed no more."""
        logs = self._ours(step)
        return Read(step.block, decode(step.block, logs), copied(logs), step.tokens)

    def _ours(self, step: Advance) -> Logs:
        logs = step.logs
        if not isinstance(logs, Logs) or not are_ours(logs, self._deployment, self._markets):
            logs = pack(step.block, select(logs, self._deployment, self._markets))
        self._markets |= created_markets(logs, self._deployment)
        return logs
