"""What the writer has done, as metrics: read from its own tables whenever somebody asks.

So they are there for every writer, also one that has died: then `tidebook_writer_up` is 0,
`tidebook_indexed_age_seconds` grows and the lag, which nobody knows, is NaN.
"""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from sqlalchemy import text

from indexer.store.snapshot import Row, Snapshot
from indexer.store.status import SILENT_SINCE, UNKNOWN_LOGS

_GAUGES = {
    "writer_up": "1 while the writer gives signs of life",
    "lag_blocks": "Blocks that the node has told of and we have not indexed",
    "indexed_block": "Height of the newest indexed block",
    "safe_block": "Height of the newest safe block",
    "finalized_block": "Height of the newest finalized block",
    "events_total": "Events written so far, retracted ones included",
    "events_per_second": "Events written a second, over about the last ten of them",
    "eta_seconds": "Seconds to the node's head at the pace of the last ten; NaN if nobody knows",
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
        for name, value in rows[0].items():
            Gauge(f"tidebook_{name}", _GAUGES[name], registry=registry).set(float(value or 0))
    divergences = Gauge(
        "tidebook_divergences_total",
        "Where the rules and the chain disagree, by market",
        ["market", "acknowledged"],
        registry=registry,
    )
    for row in await snapshot.read(_DIVERGENCES):
        divergences.labels(row.market, str(row.acknowledged).lower()).set(row.found)
    _providers(await snapshot.read(_PROVIDERS), registry)
    return generate_latest(registry)


def _providers(rows: Sequence[Row], registry: CollectorRegistry) -> None:
    """How each node does that the writer asks, by its URL without secrets."""
    gauges = {
        name: Gauge(f"tidebook_provider_{name}", words, ["provider"], registry=registry)
        for name, words in _PROVIDER_GAUGES.items()
    }
    faults = Gauge(
        "tidebook_provider_faults_total",
        "What went wrong with a node since the writer's start, by kind",
        ["provider", "kind"],
        registry=registry,
    )
    for row in rows:
        for name, gauge in gauges.items():
            value = row[name]
            gauge.labels(row.provider).set(float("nan") if value is None else value)
        for kind, count in row.faults.items():
            faults.labels(row.provider, kind).set(count)


_PROVIDER_GAUGES = {
    "up": "1 while the node is asked: it answers, follows our chain and was not caught in a lie",
    "quarantined": "1 while the node is not asked because it was caught in a lie",
    "score": "Health of the node, of 100",
    "head_block": "Newest height the node has told",
}

_PROVIDERS = text("""
select url_masked as provider, (state = 'ok')::int as up,
       (state = 'quarantined')::int as quarantined, score, head_number as head_block, faults
  from tidebook.providers order by 1
""").columns()


_FIGURES = text(f"""
select (silent_since is null)::int as writer_up,
       case when silent_since is null then greatest(coalesce(head_number, 0) - block_number, 0)
            else 'NaN'::float8 end as lag_blocks,
       block_number as indexed_block,
       safe_number as safe_block,
       finalized_number as finalized_block,
       events as events_total,
       case when silent_since is null then events_per_s else 0 end as events_per_second,
       case when silent_since is not null then 'NaN'::float8
            when block_number >= coalesce(head_number, 0) then 0
            when blocks_per_s > 0 then (head_number - block_number) / blocks_per_s
            else 'NaN'::float8 end as eta_seconds,
       seq,
       extract(epoch from clock_timestamp() - updated_at)::float8 as indexed_age_seconds,
       (select count(*) from tidebook.rollbacks) as rollbacks_total,
       (select depth from tidebook.rollbacks order by id desc limit 1) as rollback_depth_blocks,
       {UNKNOWN_LOGS} as unknown_logs_total
  from (select *, {SILENT_SINCE} as silent_since from tidebook.cursors) as cursors
 where block_number is not null
""").columns()

_DIVERGENCES = text("""
select coalesce(m.symbol, '0x' || encode(d.market, 'hex')) as market,
       d.acknowledged,
       count(*) as found
  from tidebook.divergences d left join tidebook.markets m on m.address = d.market
 group by 1, 2
""").columns()
