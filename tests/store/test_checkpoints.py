"""Checkpoints: a start from one is the start without, and a bad one is passed over."""

import logging
from pathlib import Path
from typing import Any

import pytest

from indexer.mirror.fold import Mirror
from indexer.mirror.settled import settled
from indexer.store import checkpoints, postgres
from tests.store.chains import Chain, exported, load, play

LAST = 220
OFTEN = 200
"""Events between two checkpoints, so that a short chain has several."""


@pytest.fixture(scope="module")
def chain(recordings: Path) -> Chain:
    return Chain(recordings / "gtx_chaos.jsonl.gz", LAST)


def state(mirror: Mirror) -> tuple[Any, ...]:
    """All that a mirror holds, but candles of closed minutes, which nothing will touch again."""
    records = settled(mirror, mirror.head)
    at = mirror.head
    return at, {k: sorted(map(repr, v)) for k, v in records.items()}, mirror.journal, mirror.safe


async def numbers(database_url: str) -> list[int]:
    connection = await postgres.connect(database_url)
    rows = await connection.fetch("select block_number from tidebook.checkpoints order by 1")
    await connection.close()
    return [row["block_number"] for row in rows]


async def execute(database_url: str, query: str) -> None:
    connection = await postgres.connect(database_url)
    await connection.execute(query)
    await connection.close()


async def saved(database_url: str, chain: Chain) -> None:
    """A chain with several checkpoints, a reorg between them, and a journal behind the last."""
    await play(
        database_url,
        chain,
        *([*chain.to(first, first + 9), chain.finalize(first + 4)] for first in range(0, 180, 10)),
        [chain.back_to(176), *chain.to(177, 200), chain.secure(190)],
        checkpoint_events=OFTEN,
    )


async def test_a_start_from_a_checkpoint_is_the_start_from_the_tables(
    chain: Chain, database_url: str
) -> None:
    await saved(database_url, chain)
    assert len(await numbers(database_url)) > 1
    from_checkpoint = state(await load(database_url, chain))
    await execute(database_url, "delete from tidebook.checkpoints")
    assert state(await load(database_url, chain)) == from_checkpoint


@pytest.mark.parametrize(
    "damage",
    [
        "set state = overlay(state placing '\\x00'::bytea from 100)",
        "set state = ''",
        "set version = 999",
        "set block_hash = sha256('another branch')",
    ],
)
async def test_a_damaged_checkpoint_is_passed_over_for_an_older_one(
    damage: str, chain: Chain, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await saved(database_url, chain)
    whole = state(await load(database_url, chain))
    *_, older, newest = await numbers(database_url)
    await execute(
        database_url, f"update tidebook.checkpoints {damage} where block_number = {newest}"
    )
    with caplog.at_level(logging.WARNING):
        assert state(await load(database_url, chain)) == whole
    (warning,) = caplog.messages
    assert f"the checkpoint at block {newest} is passed over" in warning
    await execute(database_url, f"delete from tidebook.checkpoints where block_number <= {older}")
    assert state(await load(database_url, chain)) == whole, "without a good one, from the tables"


async def test_a_life_that_began_at_a_checkpoint_leaves_the_same_state(
    chain: Chain, database_url: str, other_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "KEEP", 1)
    await saved(database_url, chain)
    assert len(await numbers(database_url)) == 1, "older ones go"
    await play(database_url, chain, [chain.back_to(181), *chain.to(182, LAST)])
    await play(other_database_url, chain, chain.to(0, LAST))
    assert await exported(database_url) == await exported(other_database_url)
