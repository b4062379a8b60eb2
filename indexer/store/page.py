"""What finalized blocks leave in the tables, rendered block by block as they are folded.

What a block did is in the processor's caches then. Kept as records until their turn to be sent, as
many as are under way cost more to find again, and to give back, than to render.
"""

from typing import Any

from sqlalchemy import Table

from indexer.domain.change import Applied
from indexer.domain.step import Read
from indexer.store import tables
from indexer.store.batch import CURRENT, Batch
from indexer.store.copy import Lines, rendered
from indexer.store.event_rows import Packed

Key = tuple[Any, ...]


class Page:
    """Some finalized blocks that follow each other."""

    def __init__(self) -> None:
        self.blocks = Lines(tables.blocks)
        self.events = Packed()
        self.facts: dict[Table, Lines] = {}
        self._batch = Batch()
        self._first: int | None = None

    def add(self, read: Read, applied: Applied) -> None:
        """One more block."""
        batch = self._batch
        if self._first is None:
            self._first = read.block.number
        batch.receive(read.block, (), "finalized")
        batch.add(applied, undo=False)
        self.blocks.add(batch.blocks)
        batch.blocks.clear()
        self.events.add(read.rows, len(read.events))
        for table, rows in batch.facts().items():
            if rows:
                if table not in self.facts:
                    self.facts[table] = Lines(table)
                self.facts[table].add(rows)
                rows.clear()

    def records(self) -> "Records":
        """The records that the blocks touched, as the last of them left each. Ends the page."""
        found = Records()
        for kind, images in self._batch.current.items():
            kept = {key: image for key, image in images.items() if image is not None}
            lines = zip(kept, rendered(CURRENT[kind], kept.values()), strict=True)
            found.lines[kind] = {**dict.fromkeys(images), **dict(lines)}
        for key, order in self._batch.current["orders"].items():
            placed = getattr(order, "placed_block", -1)
            if self._first is not None and placed >= self._first:
                found.new.add(key)
        self._batch.clear()
        return found


class Records:
    """Touched records as lines, by kind and primary key; None for those that are gone."""

    def __init__(self) -> None:
        self.lines: dict[str, dict[Key, str | None]] = {kind: {} for kind in CURRENT}
        self.new: set[Key] = set()
        """Orders that the database has not."""

    def update(self, later: "Records") -> None:
        """Put what was touched later over this."""
        for kind, lines in later.lines.items():
            self.lines[kind].update(lines)
        self.new |= later.new

    def take(self, kind: str) -> tuple[Lines, Lines, list[Key]]:
        """Records that are new for sure, others to be written, and keys of those to be deleted."""
        table, lines = CURRENT[kind], self.lines[kind]
        new = self.new if kind == "orders" else set()
        return (
            Lines(table, (line for key, line in lines.items() if line and key in new)),
            Lines(table, (line for key, line in lines.items() if line and key not in new)),
            [key for key, line in lines.items() if line is None],
        )
