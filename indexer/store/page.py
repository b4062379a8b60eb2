"""What finalized blocks leave in the tables, rendered while it is at hand.

What a block did is in the processor's caches when it has been folded: kept as records until their
turn to be sent, as many as are under way cost more to find again, and to give back, than to render.
What it left of the records is rendered only where a transaction ends, for most are touched again.
"""

from indexer.domain.change import Applied, Unsaved
from indexer.domain.step import Read
from indexer.store import tables
from indexer.store.batch import CURRENT, KEYS, Batch
from indexer.store.copy import Lines
from indexer.store.log_rows import Packed
from indexer.store.shape import Table


class Page:
    """Some finalized blocks that follow each other."""

    def __init__(self) -> None:
        self.blocks = Lines(tables.blocks)
        self.logs = Packed()
        self.facts: dict[Table, Lines] = {}
        self.first: int | None = None
        """The height of the first of them."""
        self._batch = Batch()

    def add(self, read: Read, applied: Applied) -> None:
        """One more block."""
        batch = self._batch
        if self.first is None:
            self.first = read.block.number
        batch.receive(read.block, None, "finalized")
        batch.add(applied, undo=False)
        self.blocks.add(batch.blocks)
        batch.blocks.clear()
        self.logs.add(read.row, len(read.events))
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
        self.blocks.extend(later.blocks)
        self.logs.extend(later.logs)
        for table, lines in later.facts.items():
            if table in self.facts:
                self.facts[table].extend(lines)
            else:
                self.facts[table] = lines


class LastPage:
    """What all blocks of a transaction left of the records; `first` is the height of the first."""

    def __init__(self, unsaved: Unsaved, first: int) -> None:
        self.placed = Lines(tables.orders)
        """Orders that no table has yet: to add them is half the price."""
        self.changed = {CURRENT[kind]: Lines(CURRENT[kind]) for kind in unsaved.records}
        self.gone = [KEYS["levels"](level) for level in unsaved.gone]
        for kind, records in unsaved.records.items():
            old = records
            if kind == "orders":
                self.placed.add([order for order in records if order.placed_block >= first])
                old = [order for order in records if order.placed_block < first]
            self.changed[CURRENT[kind]].add(old)
