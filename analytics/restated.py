"""Reorgs, as what they mean to a reader: which blocks' figures were told and then restated.

Whose figures they were is told by a stream (announce.py) as it happens.
"""

from analytics import arguments as a
from analytics import reads
from analytics.endpoint import Answer, Ask, Endpoint


async def restatements(ask: Ask) -> Answer:
    """Newest first; figures as of `first` to `last` are others since `recorded_at`."""
    rows = await reads.rollbacks(ask.snapshot, ask["limit"])
    return {
        "restatements": [
            {
                "id": row.id,
                "first": row.ancestor_number + 1,
                "last": row.head_number,
                "ancestor_hash": row.ancestor_hash,
                "retracted_hash": row.head_hash,
                "depth": row.depth,
                "recorded_at": row.recorded_at.isoformat(),
            }
            for row in rows
        ]
    }


ENDPOINTS = (
    Endpoint(
        "/api/restatements",
        "Blocks whose figures a reorg has restated",
        (a.LIMIT,),
        restatements,
        "restatements",
    ),
)
