"""Where the indexer stands, as the database tells it."""

from typing import Any

from indexer.store.errors import NothingIndexed
from indexer.store.marks import marked
from indexer.store.postgres import Connection
from indexer.store.providers import read as read_providers


async def status(connection: Connection) -> dict[str, Any]:
    """Position, lag and counts of what went wrong. Raises NothingIndexed.

    `head` is the newest height the node has told the writer; `lag_blocks` is how far behind it
    we are. `unknown_logs` counts logs of followed contracts that no ABI explains. `marked` are the
    markets with divergences that nobody has acknowledged, and how many each has. `providers` are
    the nodes as the writer last reported them, without secrets.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        cursor = await connection.fetchrow("select * from tidebook.cursors")
        if cursor is None or cursor["block_number"] is None:
            raise NothingIndexed
        counts = await connection.fetchrow(_COUNTS)
        last = await connection.fetchrow(_LAST_ROLLBACK)
        open_divergences = await marked(connection)
        providers = await read_providers(connection)
    assert counts is not None, "an aggregate without a row"
    head = max(cursor["head_number"] or 0, cursor["block_number"])
    return {
        "chain_id": cursor["chain_id"],
        "indexed": {"number": cursor["block_number"], "hash": cursor["block_hash"]},
        "head": head,
        "safe": cursor["safe_number"],
        "finalized": cursor["finalized_number"],
        "lag_blocks": head - cursor["block_number"],
        "seq": cursor["seq"],
        "epoch": cursor["epoch"],
        "reorgs": counts["reorgs"],
        "last_reorg": None
        if last is None
        else {**last, "recorded_at": last["recorded_at"].isoformat()},
        "unknown_logs": counts["unknown_logs"],
        "divergences": counts["divergences"],
        "marked": open_divergences,
        "providers": providers,
        "updated_at": cursor["updated_at"].isoformat(),
    }


_COUNTS = """
select (select count(*) from tidebook.rollbacks) as reorgs,
       (select count(*) from tidebook.events where name is null) as unknown_logs,
       (select count(*) from tidebook.divergences) as divergences
"""

_LAST_ROLLBACK = """
select ancestor_number, head_number, depth, recorded_at
  from tidebook.rollbacks order by id desc limit 1
"""
