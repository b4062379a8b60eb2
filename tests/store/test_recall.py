"""Orders that the writer has forgotten come back as they were, whichever way a start takes."""

from pathlib import Path
from typing import Any

import pytest

from indexer.ground import follow_whatever_comes
from indexer.store import postgres
from indexer.store.writer import open_store
from tests.store.chains import Chain, load, play, tables
from tests.store.test_checkpoints import execute, state
from tests.store.test_deep_reorg import Reorganized

LAST = 245
"""Behind cancels of long filled orders, in blocks 203, 233 and 240."""
CHECKPOINTS_TO = 200


@pytest.fixture(scope="module")
def chain(recordings: Path) -> Chain:
    return Chain(recordings / "gtx_chaos.jsonl.gz", LAST)


async def indexed(database_url: str, chain: Chain) -> None:
    """Two lives that forget all but the last blocks' orders; the second saves no checkpoint."""
    for first, last, events in ((0, CHECKPOINTS_TO, 200), (CHECKPOINTS_TO, LAST, 1_000_000)):
        await play(
            database_url,
            chain,
            *([*chain.to(n, n + 4), chain.finalize(n + 3)] for n in range(first, last, 5)),
            checkpoint_events=events,
        )


async def recalled(database_url: str) -> list[int]:
    connection = await postgres.connect(database_url)
    rows = await connection.fetch("select block_number from tidebook.recalled order by 1")
    await connection.close()
    return [row["block_number"] for row in rows]


async def test_a_start_behind_a_recall_is_the_start_from_the_tables(
    chain: Chain, database_url: str, other_database_url: str
) -> None:
    await indexed(database_url, chain)
    assert len(await recalled(database_url)) > 3
    from_checkpoint = state(await load(database_url, chain))
    await execute(database_url, "delete from tidebook.checkpoints")
    assert state(await load(database_url, chain)) == from_checkpoint
    await play(other_database_url, chain, chain.to(0, LAST - 1))
    assert await tables(database_url) == await tables(other_database_url)


async def test_a_deep_reorg_behind_a_recall_leaves_the_chain_that_won(
    chain: Chain, database_url: str, other_database_url: str
) -> None:
    await indexed(database_url, chain)
    store = await open_store(database_url, chain.deployment)
    node: Any = Reorganized(chain, CHECKPOINTS_TO)
    try:
        await follow_whatever_comes(store, node, node.steps, lambda *_: None, print)
    finally:
        await store.close()
    await play(other_database_url, chain, chain.to(0, LAST))
    assert await tables(database_url) == await tables(other_database_url)


async def test_what_a_backfill_recalls_is_kept_as_of_its_blocks(
    chain: Chain, database_url: str
) -> None:
    await play(
        database_url,
        chain,
        *([*chain.to(n, n + 4), chain.finalize(n + 3)] for n in range(0, 200, 5)),
    )
    for first in range(200, LAST, 5):
        await play(database_url, chain, chain.past(first, first + 4))
    blocks = await recalled(database_url)
    assert blocks
    assert min(blocks) >= CHECKPOINTS_TO, blocks
