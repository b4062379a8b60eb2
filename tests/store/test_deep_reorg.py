"""A reorg deeper than *finalized*: everything goes back to solid ground, loudly, and on."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from indexer.chain.errors import ReorgTooDeep
from indexer.domain.block import Block
from indexer.domain.canon import Canon
from indexer.domain.step import Advance, Step
from indexer.domain.units import Hash
from indexer.follow import Steps
from indexer.ground import follow_whatever_comes
from indexer.mirror.fold import Mirror
from indexer.store.writer import open_store
from tests.store.chains import Chain, exported, messages, play, tables

LAST = 215


@pytest.fixture(scope="module")
def chain(recordings: Path) -> Chain:
    return Chain(recordings / "gtx_chaos.jsonl.gz", LAST)


class Reorganized:
    """A node that has only blocks up to `fork` of what we hold; its own branch follows."""

    def __init__(self, chain: Chain, fork: int) -> None:
        self._chain, self._fork = chain, fork
        self.node_head = len(chain.advances) - 1

    async def by_number(self, number: int) -> Block | None:
        block = self._chain.advances[number].block
        return block if number <= self._fork else Block(number, Hash("0x"), Hash("0x"), 0)

    def steps(self, canon: Canon, mirror: Mirror) -> Steps:
        self._canon = canon
        return self

    async def batches(self) -> AsyncIterator[Sequence[Step]]:
        anchor = self._canon.anchor
        assert anchor is not None
        if anchor.number > self._fork:
            raise ReorgTooDeep(self._chain.advances[-1].block.ref, anchor)
        below = [*self._chain.to(anchor.number + 1, self._fork)]
        for step in (*below, *self._chain.to(self._fork + 1, self.node_head)):
            assert isinstance(step, Advance)
            self._canon.advance(step.block)
            yield [step]


async def deep(database_url: str, chain: Chain, fork: int) -> list[str]:
    """Index far, finalize far, and then hear that the chain left us at `fork`; what was said."""
    batches = [[*chain.to(n, n + 9), chain.finalize(n + 4)] for n in range(0, 200, 10)]
    await play(database_url, chain, *batches, checkpoint_events=200)
    said: list[str] = []
    store = await open_store(database_url, chain.deployment)
    node: Any = Reorganized(chain, fork)
    try:
        await follow_whatever_comes(store, node, node.steps, lambda *_: None, said.append)
    finally:
        await store.close()
    return said


@pytest.mark.parametrize(
    ("fork", "ground"), [(180, 174), (160, 154), (100, 0)], ids=["newest", "older", "first block"]
)
async def test_what_is_left_is_the_chain_that_won(
    fork: int, ground: int, chain: Chain, database_url: str, other_database_url: str
) -> None:
    (sentence,) = await deep(database_url, chain, fork)
    assert f"{199 - ground} blocks are taken back, to {ground} (" in sentence
    await play(other_database_url, chain, chain.to(0, LAST))
    assert await tables(database_url) == await tables(other_database_url)


async def test_the_streams_begin_a_new_epoch_that_tells_everything(
    chain: Chain, database_url: str
) -> None:
    await deep(database_url, chain, 160)
    told = await messages(database_url)
    assert {message["epoch"] for message in told} == {told[0]["epoch"]}, "the old one is gone"
    assert [m["seq"] for m in told] == list(range(told[0]["seq"], told[-1]["seq"] + 1))
    assert told[0]["data"]["event"] == "restart"
    assert told[0]["data"]["depth"] == 199 - 154
    newest: dict[str, int] = {}
    books: dict[str, dict[str, dict[str, str]]] = {}
    for message in told:
        if message["stream"] != "depth" or message["op"] == "promote":
            continue
        market = message["market"]
        assert message["prev_seq"] == newest.get(market, 0)
        newest[market] = message["seq"]
        if message["op"] == "snapshot":
            books[market] = {"bids": {}, "asks": {}}
        for side, levels in books[market].items():
            levels.update((price, quantity) for price, quantity, _ in message["data"][side])
    export = await exported(database_url)
    for market in export["markets"]:
        book = books[market["address"]]
        for side in ("bids", "asks"):
            wanted = {price: quantity for price, quantity, *_ in market[side]}
            assert {p: q for p, q in book[side].items() if q != "0"} == wanted


async def test_another_chain_is_refused(chain: Chain, database_url: str) -> None:
    with pytest.raises(ReorgTooDeep):
        await deep(database_url, chain, -1)
    assert (await exported(database_url))["block"]["number"] == 199
