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
from indexer.store.batch import RECORD_TYPES, deltas_from
from indexer.store.postgres import Connection


async def load_canon(connection: Connection, finalized: int | None, safe: int | None) -> Canon:
    """The blocks from the newest finalized one to the head; all there are, if none is final."""
    rows = await connection.fetch(
        "select number, hash, parent_hash, timestamp from tidebook.blocks"
        " where canonical and number >= $1 order by number",
        -1 if finalized is None else finalized,
    )
    canon = Canon(Block(**row) for row in rows)
    for block in canon.blocks():
        if block.number == safe:
            canon.secure(block.ref)
    return canon


async def load_mirror(connection: Connection, deployment: Deployment, canon: Canon) -> Mirror:
    """State at the head, and the journal of every block above the anchor."""
    mirror = Mirror(deployment, canon.head)
    anchor = canon.anchor
    oldest_minute = (anchor.timestamp if anchor else 0) // CANDLE_SECONDS * CANDLE_SECONDS
    found: dict[str, tuple[Delta[Any], ...]] = {}
    for kind, type_ in RECORD_TYPES.items():
        names = ", ".join(field.name for field in msgspec.structs.fields(type_))
        # a closed minute below finalized never changes again
        where = f"where open_time >= {oldest_minute}" if kind == "candles" else ""
        rows = await connection.fetch(f"select {names} from tidebook.{kind} {where}")
        found[kind] = tuple(Delta(None, type_(**row)) for row in rows)
    mirror.put(Deltas(**found))
    mirror.safe = canon.safe.number if canon.safe else -1
    if canon.head is not None and anchor is not None:
        mirror.journal = await _load_journal(connection, canon, anchor.number)
    return mirror


async def _load_journal(connection: Connection, canon: Canon, anchor: int) -> list[Applied]:
    images: dict[int, list[tuple[str, str | None, str | None]]] = defaultdict(list)
    for row in await connection.fetch(
        "select block_number, kind, before, after from tidebook.undo order by block_number, ordinal"
    ):
        images[row["block_number"]].append((row["kind"], row["before"], row["after"]))
    trades = await _facts(connection, "trades", Trade, anchor, "log_index")
    changes = await _facts(connection, "order_changes", OrderChange, anchor, "ordinal")
    divergences = await _divergences(connection, anchor)
    return [
        Applied(
            block,
            deltas_from(images[block.number]),
            tuple(trades[block.number]),
            tuple(changes[block.number]),
            tuple(divergences[block.number]),
        )
        for block in canon.blocks()
        if block.number > anchor
    ]


async def _facts(
    connection: Connection, table: str, type_: type[Any], anchor: int, order: str
) -> dict[int, list[Any]]:
    names = ", ".join(field.name for field in msgspec.structs.fields(type_))
    rows = await connection.fetch(
        f"select {names} from tidebook.{table} where block_number > $1"
        f" order by block_number, {order}",
        anchor,
    )
    facts: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        facts[row["block_number"]].append(type_(**row))
    return facts


async def _divergences(connection: Connection, anchor: int) -> dict[int, list[Divergence]]:
    names = ", ".join(field.name for field in msgspec.structs.fields(Divergence))
    rows = await connection.fetch(
        f"select {names} from tidebook.divergences where block_number > $1 order by id", anchor
    )
    found: dict[int, list[Divergence]] = defaultdict(list)
    for row in rows:
        effects = {
            key: row[key] and msgspec.json.decode(row[key], type=Effect)
            for key in ("expected", "found")
        }
        found[row["block_number"]].append(Divergence(**{**row, **effects}))
    return found
