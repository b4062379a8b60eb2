"""An endpoint as a value: path, parameters and answer. Routes and OpenAPI are made from these."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from analytics import arguments as a
from analytics.reads import AsOf, Listing, View
from analytics.remembered import Memory
from indexer.store.snapshot import Snapshot

Answer = dict[str, Any]


@dataclass(frozen=True)
class Ask:
    """One request: its arguments, and the chain as it is to be seen."""

    view: View
    listings: Sequence[Listing]
    values: dict[str, Any]
    memory: Memory

    @property
    def snapshot(self) -> Snapshot:
        return self.view.snapshot

    @property
    def at(self) -> AsOf:
        return self.view.at

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    @property
    def since(self) -> int:
        """Trades count that are later than this, in seconds: the start of `period`."""
        length = a.PERIODS[self["period"]]
        return -1 if length is None else self.at.timestamp - length


class Endpoint(msgspec.Struct, frozen=True):
    """`rows` names the list of the answer that `format=csv` gives; None where there is none."""

    path: str
    summary: str
    own: tuple[a.Parameter, ...]
    answer: Callable[[Ask], Awaitable[Answer | str]]
    rows: str | None = None
    media_type: str = "application/json"

    @property
    def parameters(self) -> tuple[a.Parameter, ...]:
        extra = (a.FORMAT,) if self.rows else ()
        return (*self.own, a.BLOCK, a.FINALITY, *extra)
