"""Records by key, with a memory of what the running block has changed of them."""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import msgspec

from indexer.domain.change import Delta

K = TypeVar("K")
R = TypeVar("R", bound=msgspec.Struct)


class Records(Generic[K, R]):
    """A dict of mutable records that can say what a block did to it.

    Whoever changes a record takes it through `touch`; the first touch in a block keeps a copy.
    `take_deltas` ends the block.
    """

    __slots__ = ("_before", "rows")

    def __init__(self) -> None:
        self.rows: dict[K, R] = {}
        self._before: dict[K, R | None] = {}

    def __contains__(self, key: K) -> bool:
        return key in self.rows

    def get(self, key: K) -> R | None:
        """The record, to be read only."""
        return self.rows.get(key)

    def touch(self, key: K) -> R:
        """The record, to be changed. KeyError if there is none."""
        row = self.rows[key]
        if key not in self._before:
            self._before[key] = _image(row)
        return row

    def find(self, key: K) -> R | None:
        """The record, to be changed, if there is one."""
        row = self.rows.get(key)
        if row is not None and key not in self._before:
            self._before[key] = _image(row)
        return row

    def add(self, key: K, row: R) -> R:
        """A new record, or a whole new image of one."""
        if key not in self._before:
            self._before[key] = self.rows.get(key)
        self.rows[key] = row
        return row

    def remove(self, key: K) -> None:
        if key not in self._before:
            self._before[key] = _image(self.rows[key])
        del self.rows[key]

    def take_deltas(self) -> list[Delta[R]]:
        """Everything touched since the last call, before and after, in the order of first touch."""
        if not self._before:
            return []
        find = self.rows.get
        deltas = [
            Delta(before, None if after is None else _image(after))
            for key, before in self._before.items()
            if (after := find(key)) is not None or before is not None
        ]
        self._before.clear()
        return deltas

    def put(self, keyed: Iterable[tuple[K, R | None]]) -> None:
        """Set images outside any block (loading, rewinding): None removes."""
        for key, image in keyed:
            if image is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = _image(image)


_image: Callable[[R], R] = msgspec.Struct.__copy__  # type: ignore[attr-defined]  # not in the stubs
"""A shallow copy, in C: an eighth of a microsecond for an order."""
