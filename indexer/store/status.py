"""Where the indexer stands, as the database tells it."""

from typing import Any

from indexer.store.errors import NothingIndexed
from indexer.store.indexes import MISSING
from indexer.store.lock import WRITER_AT_WORK
from indexer.store.marks import marked
from indexer.store.postgres import Connection
from indexer.store.providers import read as read_providers


async def status(connection: Connection) -> dict[str, Any]:
    """Position, lag and counts of what went wrong. Raises NothingIndexed.

    `head` is the newest height the node has told the writer; `lag_blocks` is how far behind it
    we are, None if the writer has been silent since `writer_silent_since`: then nobody knows, and
    all figures are of that time. `told` is the newest seq of each stream. `unknown_logs` counts
    logs of followed contracts that no ABI explains. `missing_indexes` are built when a first sync
    ends; until then readers are slower. `marked` are the markets with divergences that
    nobody has acknowledged, and how many each has. `providers` are the nodes as the writer last
    reported them, without secrets.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        cursor = await connection.fetchrow(_CURSOR)
        if cursor is None or cursor["block_number"] is None:
            raise NothingIndexed
        counts = await connection.fetchrow(_COUNTS)
        last = await connection.fetchrow(_LAST_ROLLBACK)
        open_divergences = await marked(connection)
        providers = await read_providers(connection)
        told = await connection.fetch(_TOLD)
    assert counts is not None, "an aggregate without a row"
    head = max(cursor["head_number"] or 0, cursor["block_number"])
    silent = cursor["silent_since"]
    return {
        "chain_id": cursor["chain_id"],
        "indexed": {"number": cursor["block_number"], "hash": cursor["block_hash"]},
        "head": head,
        "safe": cursor["safe_number"],
        "finalized": cursor["finalized_number"],
        "writer_silent_since": silent and silent.isoformat(),
        "lag_blocks": head - cursor["block_number"] if silent is None else None,
        "seq": cursor["seq"],
        "told": {row["stream"]: row["seq"] for row in told},
        "epoch": cursor["epoch"],
        "reorgs": counts["reorgs"],
        "last_reorg": None
        if last is None
        else {**last, "recorded_at": last["recorded_at"].isoformat()},
        "unknown_logs": counts["unknown_logs"],
        "missing_indexes": counts["missing_indexes"],
        "divergences": counts["divergences"],
        "marked": open_divergences,
        "providers": providers,
        "updated_at": cursor["updated_at"].isoformat(),
    }


SILENT_S = 30
"""A writer without a sign of life for so long is silent, lock or not: it gives one every few s."""

LAST_SIGN = """greatest(updated_at, (select max(updated_at) from tidebook.providers))"""

SILENT_SINCE = f"""
case when not {WRITER_AT_WORK} or {LAST_SIGN} < clock_timestamp() - interval '{SILENT_S} s'
     then {LAST_SIGN} end"""
"""When the writer gave its last sign of life, null while it is well; SQL beside `cursors`."""

UNKNOWN_LOGS = "(select coalesce(sum(unknown), 0) from tidebook.logs where unknown > 0)"
"""Logs that no ABI knows; an expression in SQL."""

_CURSOR = f"select *, {SILENT_SINCE} as silent_since from tidebook.cursors"

_TOLD = """
select split_part(channel, ':', 1) as stream, max(seq) as seq
  from tidebook.channels group by 1 order by 1
"""

_COUNTS = f"""
select (select count(*) from tidebook.rollbacks) as reorgs,
       {UNKNOWN_LOGS} as unknown_logs,
       (select count(*) from tidebook.divergences) as divergences,
       {MISSING} as missing_indexes
"""

_LAST_ROLLBACK = """
select ancestor_number, head_number, depth, recorded_at
  from tidebook.rollbacks order by id desc limit 1
"""
