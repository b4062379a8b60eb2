"""Blocks read: what their logs mean, and those of the past as the row they become.

Nothing here knows the state, so the past may be read where it is fetched: in a process beside the
writer (scout.py).
"""

from collections.abc import Iterable

import msgspec

from indexer.decode import created_markets, decode, select
from indexer.domain.deployment import Deployment
from indexer.domain.events import AnyEvent
from indexer.domain.log import Log
from indexer.domain.logs import pack
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
        return msgspec.structs.replace(step, logs=tuple(logs)), decode(step.block, logs)

    def read_past(self, step: Advance) -> Read:
        """A finalized block, whose logs are needed no more."""
        logs = self._ours(step)
        row = copied(step.block.number, pack(step.block, logs))
        return Read(step.block, decode(step.block, logs), row, step.tokens)

    def _ours(self, step: Advance) -> list[Log]:
        logs = select(step.logs, self._deployment, self._markets)
        self._markets |= created_markets(logs, self._deployment)
        return logs
