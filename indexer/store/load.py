"""From the tables back to canon and mirror: what a start needs, and nothing else."""

from collections import defaultdict
from typing import Any

import msgspec

from indexer.domain.block import Block
from indexer.domain.canon import Canon
from indexer.domain.change import Applied, Delta, Deltas, OrderChange
from indexer.domain.deployment import Deployment
from indexer.domain.divergence import Divergence
from indexer.domain.effect import Effect
from indexer.domain.order import CANDLE_SECONDS, Trade
from indexer.mirror.fold import Mirror
from indexer.store import tables
from indexer.store.batch import CURRENT
from indexer.store.database import Database
from indexer.store.shape import Table
from indexer.store.undo import RECORD_TYPES, unpack


async def load_canon(database: Database, finalized: int | None, safe: int | None) -> Canon:
    """The blocks from the newest finalized one to the head; all there are, if none is final."""
    least = -1 if finalized is None else finalized
    rows = await database.canonical_blocks(_names(Block), least)
    canon = Canon(Block(**row) for row in rows)
    for block in canon.blocks():
        if block.number == safe:
            canon.secure(block.ref)
    return canon


async def load_mirror(database: Database, deployment: Deployment, canon: Canon) -> Mirror:
    """State at the head as far as it is kept in memory, and the journal above the anchor."""
    mirror = Mirror(deployment, canon.head)
    anchor = canon.anchor
    oldest_minute = (anchor.timestamp if anchor else 0) // CANDLE_SECONDS * CANDLE_SECONDS
    found: dict[str, tuple[Delta[Any], ...]] = {}
    for kind, type_ in RECORD_TYPES.items():
        # a closed minute below finalized never changes again
        least = ("open_time", oldest_minute) if kind == "candles" else None
        if kind == "orders":
            rows = await database.kept_orders(_names(type_))
        else:
            rows = await database.read(CURRENT[kind], _names(type_), least)
        found[kind] = tuple(Delta(None, type_(**row)) for row in rows)
    mirror.put(Deltas(**found))
    mirror.safe = canon.safe.number if canon.safe else -1
    if canon.head is not None and anchor is not None:
        mirror.journal = await _load_journal(database, canon, anchor.number)
    return mirror


async def _load_journal(database: Database, canon: Canon, anchor: int) -> list[Applied]:
    stored = await database.read(tables.undo, ("block_number", "images"))
    images = {row["block_number"]: row["images"] for row in stored}
    trades = await _facts(database, tables.trades, Trade, anchor, "log_index")
    changes = await _facts(database, tables.order_changes, OrderChange, anchor, "ordinal")
    divergences = await _divergences(database, anchor)
    return [
        Applied(
            block,
            unpack(images[block.number]) if block.number in images else Deltas(),
            tuple(trades[block.number]),
            tuple(changes[block.number]),
            tuple(divergences[block.number]),
        )
        for block in canon.blocks()
        if block.number > anchor
    ]


async def _facts(
    database: Database, table: Table, type_: type[Any], anchor: int, order: str
) -> dict[int, list[Any]]:
    above = ("block_number", anchor + 1)
    facts: dict[int, list[Any]] = defaultdict(list)
    for row in await database.read(table, _names(type_), above, ("block_number", order)):
        facts[row["block_number"]].append(type_(**row))
    return facts


async def _divergences(database: Database, anchor: int) -> dict[int, list[Divergence]]:
    above = ("block_number", anchor + 1)
    found: dict[int, list[Divergence]] = defaultdict(list)
    for row in await database.read(tables.divergences, _names(Divergence), above, ("id",)):
        if row["kind"] == "state":
            continue  # a getter's word, not a block's doing: no rollback tells it back
        effects = {
            key: row[key] and msgspec.json.decode(row[key], type=Effect)
            for key in ("expected", "found")
        }
        found[row["block_number"]].append(Divergence(**{**row, **effects}))
    return found


def _names(type_: type[Any]) -> list[str]:
    """The fields of a record, which are columns."""
    return list(type_.__struct_fields__)
