"""What `status` and the metrics say of a writer that lives, and of one that does not."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.asyncio as redis
from prometheus_client.parser import text_string_to_metric_families

from api.figures import figures
from indexer.chain.health import Report
from indexer.store import postgres
from indexer.store.providers import write
from indexer.store.snapshot import Snapshot, connect
from indexer.store.status import status
from indexer.store.writer import open_store
from tests.store.chains import Chain, play
from tests.story.market import run

NODE = "http://node/v2/***"


@pytest.fixture
def chain(recordings: Path) -> Chain:
    return Chain(recordings / "gtx_chaos.jsonl.gz", 120)


@pytest.fixture
async def reader(database_url: str, chain: Chain) -> AsyncIterator[postgres.Connection]:
    """A reader of a database that a writer has written."""
    await play(database_url, chain, chain.to(0, 120))
    connection = await postgres.connect(database_url)
    yield connection
    await connection.close()


async def test_a_lag_is_a_living_writer_s(
    reader: postgres.Connection, database_url: str, chain: Chain
) -> None:
    dead = await status(reader)
    assert dead["lag_blocks"] is None
    assert dead["writer_silent_since"] == dead["updated_at"]
    store = await open_store(database_url, chain.deployment)
    alive = await status(reader)
    assert (alive["lag_blocks"], alive["writer_silent_since"]) == (0, None)
    await store.close()


async def test_a_writer_that_holds_its_lock_and_says_nothing_is_silent(
    reader: postgres.Connection, database_url: str, chain: Chain
) -> None:
    store = await open_store(database_url, chain.deployment)
    await reader.execute("update tidebook.cursors set updated_at = now() - interval '1 hour'")
    assert (await status(reader))["writer_silent_since"] is not None
    await write(reader, [Report(NODE, "ok", 97, 12, {}, None)])  # its nodes' report is a sign
    assert (await status(reader))["writer_silent_since"] is None
    await store.close()


async def test_metrics_say_how_each_provider_does(
    reader: postgres.Connection, database_url: str, chain: Chain
) -> None:
    liar = Report("ws://b", "quarantined", 0, None, {"lie": 1, "busy": 2}, "no such log")
    await write(reader, [Report(NODE, "ok", 97, 12, {}, None), liar])
    told = await metrics(database_url)
    assert (
        told
        | {
            f"tidebook_provider_up {NODE}": 1,
            f"tidebook_provider_score {NODE}": 97,
            f"tidebook_provider_head_block {NODE}": 12,
            f"tidebook_provider_quarantined {NODE}": 0,
            "tidebook_provider_quarantined ws://b": 1,
            "tidebook_provider_up ws://b": 0,
            "tidebook_provider_faults_total lie ws://b": 1,
            "tidebook_provider_faults_total busy ws://b": 2,
            "tidebook_writer_up": 0,
            "tidebook_lag_blocks": None,
        }
        == told
    )
    store = await open_store(database_url, chain.deployment)
    alive = await metrics(database_url)
    assert (alive["tidebook_lag_blocks"], alive["tidebook_writer_up"]) == (0, 1)
    await store.close()


async def test_metrics_say_how_fast_the_writer_is_and_when_it_will_be_there(
    reader: postgres.Connection, database_url: str, chain: Chain, recordings: Path
) -> None:
    written = await reader.fetchval("select count(*) from tidebook.events")
    dead = await metrics(database_url)
    assert dead["tidebook_events_total"] == written > 0
    assert (dead["tidebook_events_per_second"], dead["tidebook_eta_seconds"]) == (0, None)
    await reader.execute("update tidebook.cursors set updated_at = now() - interval '1 hour'")
    longer = Chain(recordings / "gtx_chaos.jsonl.gz", 140)
    await play(database_url, longer, longer.to(121, 140))
    more = await reader.fetchval("select count(*) from tidebook.events") - written
    store = await open_store(database_url, chain.deployment)
    alive = await metrics(database_url)
    assert alive["tidebook_events_total"] == written + more > written
    assert alive["tidebook_events_per_second"] == pytest.approx(more / 3600, rel=0.01)
    assert alive["tidebook_eta_seconds"] == 0
    await reader.execute("update tidebook.cursors set head_number = block_number + 36")
    behind = await metrics(database_url)
    assert behind["tidebook_eta_seconds"] == pytest.approx(36 / (20 / 3600), rel=0.01)
    await store.close()


async def test_a_writer_that_rested_for_a_month_goes_on(
    reader: postgres.Connection, database_url: str, chain: Chain, recordings: Path
) -> None:
    await reader.execute("update tidebook.cursors set updated_at = now() - interval '30 days'")
    longer = Chain(recordings / "gtx_chaos.jsonl.gz", 140)
    await play(database_url, longer, longer.to(121, 140))
    store = await open_store(database_url, chain.deployment)
    alive = await metrics(database_url)
    await store.close()
    assert alive["tidebook_indexed_block"] == 140
    pace = alive["tidebook_events_per_second"]
    assert pace is not None
    assert 0 < pace < 0.01


async def test_a_writer_of_a_quiet_chain_goes_on(
    reader: postgres.Connection, database_url: str, chain: Chain
) -> None:
    # what is left of a pace after two hours of blocks without an event
    await reader.execute("update tidebook.cursors set events_per_s = 5e-324, blocks_per_s = 1e-323")
    store = await open_store(database_url, chain.deployment)
    canon, _ = await store.load()
    async with store.transaction() as tx:
        await tx.move_cursor(canon, node_head=120, live=True)
    assert (await metrics(database_url))["tidebook_events_per_second"] == 0
    await store.close()


async def metrics(database_url: str) -> dict[str, float | None]:
    """Every figure by name and labels; None for what nobody knows."""
    engine = connect(database_url, 1, 5)
    snapshot = Snapshot(engine)
    try:
        told = (await figures(snapshot)).decode()
    finally:
        await snapshot.close()
        await engine.dispose()
    return {
        " ".join([sample.name, *sample.labels.values()]): None
        if sample.value != sample.value
        else sample.value
        for family in text_string_to_metric_families(told)
        for sample in family.samples
    }


async def test_status_says_how_far_the_streams_are(
    reader: postgres.Connection, database_url: str, redis_url: str
) -> None:
    streams: redis.Redis = redis.from_url(redis_url, protocol=2)
    await streams.flushdb()
    await streams.aclose()
    where = ("--database-url", database_url, "--redis-url", redis_url)
    code, out, err = await run("status", "--json", *where)
    assert code == 0, err
    said = json.loads(out)
    assert (said["published"], said["streams"]["trades"]) == (0, 0)
    assert max(said["told"].values()) == said["seq"] > 0
    code, out, err = await run(
        "status", "--database-url", database_url, "--redis-url", "unix:///gone"
    )
    assert code == 0, err
    assert "TIDEBOOK_REDIS_URL: no connection to Redis" in out.decode()
    assert "silent since" in out.decode()
