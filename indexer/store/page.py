"""What finalized blocks leave in the tables, rendered block by block as they are folded.

What a block did is in the processor's caches then. Kept as records until their turn to be sent, as
many as are under way cost more to find again, and to give back, than to render.
"""

from typing import Any

from sqlalchemy import Table

from indexer.domain.change import Applied
from indexer.domain.step import Read
from indexer.store import tables
from indexer.store.batch import Batch
from indexer.store.copy import Lines
from indexer.store.event_rows import Packed

Key = tuple[Any, ...]


class Page:
    """Some finalized blocks that follow each other."""

    def __init__(self) -> None:
        self.blocks = Lines(tables.blocks)
        self.events = Packed()
        self.facts: dict[Table, Lines] = {}
        self.first: int | None = None
        """The height of the first of them."""
        self._batch = Batch()

    def add(self, read: Read, applied: Applied) -> None:
        """One more block."""
        batch = self._batch
        if self.first is None:
            self.first = read.block.number
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

    def extend(self, later: "Page") -> None:
        """The blocks of another page, which follow."""
        if self.first is None:
            self.first = later.first
        self.blocks.lines += later.blocks.lines
        self.events.extend(later.events)
        for table, lines in later.facts.items():
            if table in self.facts:
                self.facts[table].lines += lines.lines
            else:
                self.facts[table] = lines
        for kind, images in later.records.items():
            self.records[kind].update(images)

    @property
    def records(self) -> dict[str, dict[Key, Any]]:
        """The records that the blocks touched, as the last of them left each; None: it is gone.

        Most are touched again by the next page, so they are rendered when nothing more comes.
        """
        return self._batch.current
