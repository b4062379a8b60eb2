"""What the writer has done, as metrics: read from its own tables whenever somebody asks.

So they are there for every writer, also one that has died: then
`tidebook_indexed_age_seconds` grows.
"""

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from sqlalchemy import text

from indexer.store.snapshot import Snapshot

_GAUGES = {
    "lag_blocks": "Blocks that the node has told of and we have not indexed",
    "indexed_block": "Height of the newest indexed block",
    "safe_block": "Height of the newest safe block",
    "finalized_block": "Height of the newest finalized block",
    "seq": "Newest number of the outbox",
    "indexed_age_seconds": "Seconds since the writer's newest commit",
    "rollbacks_total": "Rollbacks so far",
    "rollback_depth_blocks": "Depth of the newest rollback",
    "unknown_logs_total": "Logs of followed contracts that no ABI explains",
}


async def figures(snapshot: Snapshot) -> bytes:
    """The writer's figures in Prometheus' text format; empty before anything is indexed."""
    registry = CollectorRegistry()
    rows = await snapshot.read(_FIGURES)
    if rows:
        for name, value in rows[0]._mapping.items():
            Gauge(f"tidebook_{name}", _GAUGES[name], registry=registry).set(float(value or 0))
    divergences = Gauge(
        "tidebook_divergences_total",
        "Where the rules and the chain disagree, by market",
        ["market", "acknowledged"],
        registry=registry,
    )
    for row in await snapshot.read(_DIVERGENCES):
        divergences.labels(row.market, str(row.acknowledged).lower()).set(row.found)
    return generate_latest(registry)


_FIGURES = text("""
select greatest(coalesce(head_number, 0) - block_number, 0) as lag_blocks,
       block_number as indexed_block,
       safe_number as safe_block,
       finalized_number as finalized_block,
       seq,
       extract(epoch from clock_timestamp() - updated_at) as indexed_age_seconds,
       (select count(*) from tidebook.rollbacks) as rollbacks_total,
       (select depth from tidebook.rollbacks order by id desc limit 1) as rollback_depth_blocks,
       (select count(*) from tidebook.events where name is null) as unknown_logs_total
  from tidebook.cursors
 where block_number is not null
""").columns()

_DIVERGENCES = text("""
select coalesce(m.symbol, '0x' || encode(d.market, 'hex')) as market,
       d.acknowledged,
       count(*) as found
  from tidebook.divergences d left join tidebook.markets m on m.address = d.market
 group by 1, 2
""").columns()
