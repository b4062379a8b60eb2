"""What a process remembers of the facts, so that a warm request reads only what is new.

A `History` holds rows up to a block that it knows by its hash. Facts up to a block are a function
of that hash, so a history whose block the chain still has is right, and needs only the rows behind
it. Where a reorg took the block, the history goes back to the newest block it stood at that is
still there, and forward again: what it says is always what reading afresh would say.

Every request checks that in its own snapshot. Nothing here outlives the process.
"""

import asyncio
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from analytics.limits import MAX_HISTORIES, MAX_REMEMBERED_ROWS, MAX_STANDS
from indexer.domain.units import Address, Hash

Canonical = Callable[[Collection[Hash]], Awaitable[set[Hash]]]
"""Which of some blocks the chain still has, asked in the request's snapshot."""


class At(Protocol):
    """The block that a request asks for."""

    @property
    def number(self) -> int: ...

    @property
    def hash(self) -> Hash: ...


class Stand(NamedTuple):
    """A block at which a history was complete."""

    number: int
    hash: Hash


class History:
    """Where rows stand. What the rows are, and how they are cut, is the subclass's."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        """Held while rows are read: one request reads them, those behind it find them read."""
        self.stands: list[Stand] = []
        """Oldest first; the rows are complete up to the last."""

    @property
    def number(self) -> int:
        """The block up to which the rows are complete; -1 for none."""
        return self.stands[-1].number if self.stands else -1

    @property
    def weight(self) -> int:
        """Rows held."""
        raise NotImplementedError

    def cut(self, number: int) -> None:
        """Forget what is behind a block, without touching lists that a reader may hold."""
        raise NotImplementedError

    def settle(self, canonical: Collection[Hash], at: At) -> bool:
        """Go back to what the chain still has. Whether there are rows to be read up to `at`."""
        if any(one.number >= at.number and one.hash in canonical for one in self.stands):
            return False
        if any(one == (at.number, at.hash) for one in self.stands):
            return False  # an older snapshot than ours: we know its block, it not our newest
        kept = [one for one in self.stands if one.hash in canonical]
        if len(kept) < len(self.stands):
            self.stands = kept
            self.cut(self.number)
        return True

    def stand(self, at: At) -> None:
        """The rows are complete up to here."""
        self.stands = [*self.stands[-(MAX_STANDS - 1) :], Stand(at.number, at.hash)]


Row = TypeVar("Row", bound=tuple[Any, ...])


class Rows(History, Generic[Row]):
    """A history of rows whose first field is their block's number."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Row] = []

    @property
    def weight(self) -> int:
        return len(self.rows)

    def cut(self, number: int) -> None:
        self.rows = self.rows[: self.count(number)]

    def count(self, number: int) -> int:
        """How many rows there are up to a block."""
        if not self.rows or self.rows[-1][0] <= number:
            return len(self.rows)
        return bisect_right(self.rows, number, key=lambda row: row[0])


Kept = TypeVar("Kept", bound=History)


async def reach(
    histories: Sequence[Kept],
    at: At,
    canonical: Canonical,
    read: Callable[[Sequence[Kept]], Awaitable[None]],
) -> None:
    """Bring histories to a block, or leave them further on; `read` adds what they lack up to it.

    To be called by one task at a time for any history: rows are read in between.
    """
    unsure = [one for one in histories if not one.stands or one.stands[-1].hash != at.hash]
    hashes = {stand.hash for one in unsure for stand in one.stands}
    still = await canonical(hashes) if hashes else set()
    behind = [one for one in unsure if one.settle(still, at)]
    if behind:
        try:
            await read(behind)
        except BaseException:
            for one in behind:
                one.cut(one.number)  # what was added before it failed
            raise
        for one in behind:
            one.stand(at)


class Shelf(Generic[Kept]):
    """Histories by address; those used longest ago make room."""

    def __init__(
        self,
        make: Callable[[], Kept],
        max_rows: int = MAX_REMEMBERED_ROWS,
        max_histories: int = MAX_HISTORIES,
    ) -> None:
        self.lock = asyncio.Lock()
        """Held by whoever reaches many at once."""
        self._make = make
        self._max_rows = max_rows
        self._max_histories = max_histories
        self._kept: OrderedDict[Address, Kept] = OrderedDict()

    def take(self, address: Address) -> Kept:
        """The history of an address, a new one if there is none."""
        if address not in self._kept:
            self._kept[address] = self._make()
        self._kept.move_to_end(address)
        return self._kept[address]

    def __len__(self) -> int:
        return len(self._kept)

    def make_room(self) -> None:
        """Forget the least recently used while there are too many; the newest stays."""
        rows = sum(one.weight for one in self._kept.values())
        while (rows > self._max_rows and len(self._kept) > 1) or len(self) > self._max_histories:
            _, gone = self._kept.popitem(last=False)
            rows -= gone.weight
