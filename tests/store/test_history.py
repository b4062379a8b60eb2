"""The chain again, out of the database."""

from pathlib import Path

import pytest

from indexer.mirror.fold import Mirror
from indexer.store import history, postgres
from tests.store.chains import Chain, play


async def test_a_chain_folded_again_gathers_nothing_to_be_saved(
    recordings: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = Chain(recordings / "gtx_chaos.jsonl.gz", 160)
    monkeypatch.setattr(history, "BLOCKS_AT_ONCE", 1)
    await play(database_url, chain, chain.to(0, 160))
    mirror = Mirror(chain.deployment)
    connection = await postgres.connect(database_url)
    touched = 0
    async for applied in history.refold(connection, chain.deployment, mirror):
        touched += len(applied.touched.levels)
    await connection.close()
    assert touched > 0
    assert not any(mirror.take_unsaved().records.values())
