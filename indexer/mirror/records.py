"""Records by key, with a memory of what the running block has changed of them."""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import msgspec

from indexer.domain.change import Delta

K = TypeVar("K")
R = TypeVar("R", bound=msgspec.Struct)


class Records(Generic[K, R]):
    """A dict of mutable records that can say what a block did to it.

    Whoever changes a record takes it through `touch` or `find`; the first touch in a block keeps a
    copy, for a rollback. In a `final` block, which none reaches, nothing is copied: instead the
    records wait, as they are, for `take_unsaved`. `end` ends a block.
    """

    __slots__ = ("_before", "_new", "_removed", "_touched", "_unsaved", "final", "rows")

    def __init__(self, *, final: bool = False) -> None:
        self.rows: dict[K, R] = {}
        self.final = final
        self._touched: dict[K, R] = {}
        self._new: set[K] = set()
        self._before: dict[K, R] = {}
        self._unsaved: list[R] = []
        self._removed: list[tuple[K, R]] = []

    def __contains__(self, key: K) -> bool:
        return key in self.rows

    def get(self, key: K) -> R | None:
        """The record, to be read only."""
        return self.rows.get(key)

    def touch(self, key: K) -> R:
        """The record, to be changed. KeyError if there is none."""
        row = self.find(key)
        if row is None:
            raise KeyError(key)
        return row

    def find(self, key: K) -> R | None:
        """The record, to be changed, if there is one."""
        row = self.rows.get(key)
        if row is None:
            return None
        if self.final:
            self._touched[key] = row
        elif key not in self._touched:
            self._touched[key] = row
            self._before[key] = _image(row)
        return row

    def add(self, key: K, row: R) -> R:
        """A new record."""
        if key not in self._touched:
            self._new.add(key)
        self.rows[key] = self._touched[key] = row
        return row

    def remove(self, key: K) -> None:
        row = self.touch(key)
        del self.rows[key]
        if self.final:
            self._removed.append((key, row))
        if key in self._new:  # nobody outside the block has seen it
            self._new.remove(key)
            del self._touched[key]

    def end(self) -> tuple[list[R], list[Delta[R]]]:
        """Everything touched since the last call, in the order of first touch.

        As the block left it, or as it went; and before and after, unless it is `final`: then the
        records are the mirror's own, to be read before the next block.
        """
        touched = self._touched
        if not touched:
            return [], []
        self._touched = {}
        self._new.clear()
        if self.final:
            rows = list(touched.values())
            self._unsaved += rows
            return rows, []
        before, self._before = self._before, {}
        images = [(key, _image(row)) for key, row in touched.items()]
        deltas = [
            Delta(before.get(key), image if key in self.rows else None) for key, image in images
        ]
        return [image for _, image in images], deltas

    def take_unsaved(self) -> tuple[list[R], list[R]]:
        """What final blocks touched since the last call, as it is now; and what went, as it was."""
        found = {id(row): row for row in self._unsaved}
        for _, row in self._removed:
            found.pop(id(row), None)
        gone = {key: row for key, row in self._removed if key not in self.rows}
        self._unsaved, self._removed = [], []
        return list(found.values()), list(gone.values())

    def put(self, keyed: Iterable[tuple[K, R | None]]) -> None:
        """Set images outside any block (loading, rewinding): None removes."""
        for key, image in keyed:
            if image is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = _image(image)


_image: Callable[[R], R] = msgspec.Struct.__copy__  # type: ignore[attr-defined]  # not in the stubs
"""A shallow copy, in C: an eighth of a microsecond for an order."""
