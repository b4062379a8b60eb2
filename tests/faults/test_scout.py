"""Stories of the scout: whatever becomes of it, the writer reads the same past."""

import os
import signal
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path

import pytest

from indexer.chain import steps
from indexer.chain.providers import Providers
from indexer.chain.steps import Ahead, Follower
from indexer.domain.block import Block
from indexer.domain.canon import Canon
from indexer.domain.events import MarketCreated
from indexer.domain.step import Advance, Read
from indexer.domain.units import Address
from indexer.errand import Scout, Site
from indexer.reading import Reader
from tests.benchmarks.chains import DEPLOYMENT
from tests.benchmarks.player import playing

EVENTS = 20_000
SAID: list[str] = []
"""What scouts told."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with playing(EVENTS, "--head", "250") as (url, _):
        yield url


@pytest.fixture
async def node(url: str) -> AsyncIterator[Providers]:
    node = await Providers.open([url], DEPLOYMENT, confirmations=10)
    yield node
    await node.close()


@pytest.fixture
async def scout(url: str) -> AsyncIterator[Scout]:
    scout = Scout(SAID.append)
    await scout.begin(Site((url,), DEPLOYMENT, 10, None))
    yield scout
    await scout.close()
    SAID.clear()


def created(reads: list[Read]) -> set[Address]:
    return {e.market for one in reads for e in one.events if isinstance(e, MarketCreated)}


async def past(node: Providers, ahead: Ahead | None) -> list[Read]:
    """All of the past as a writer sees it."""
    follower = Follower(node, Canon(), DEPLOYMENT, (), None, ahead)
    markets: set[Address] = set()
    reader = Reader(DEPLOYMENT, markets)
    found: list[Read] = []
    async for batch in follower.batches():
        for step in batch:
            match step:
                case Read():
                    found.append(step)
                    markets |= created([step])
                    reader = Reader(DEPLOYMENT, markets)
                case Advance(finality="finalized"):
                    found.append(reader.read_past(step))
                case _:
                    return found
    return found


@pytest.fixture(autouse=True)
def _always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "AHEAD_BLOCKS", 1)


async def test_the_scout_tells_what_the_writer_would_read(node: Providers, scout: Scout) -> None:
    alone = await past(node, None)
    assert sum(len(one.events) for one in alone) > EVENTS / 4
    assert await past(node, scout) == alone
    assert not SAID


async def test_its_log_cache_is_the_writers(url: str, node: Providers, tmp_path: Path) -> None:
    scout = Scout(SAID.append)
    await scout.begin(Site((url,), DEPLOYMENT, 10, tmp_path))
    first = await past(node, scout)
    assert any(files for _, _, files in os.walk(tmp_path))
    assert await past(node, scout) == first


async def test_a_scout_without_a_node_leaves_it_to_the_writer(node: Providers) -> None:
    scout = Scout(SAID.append)
    await scout.begin(Site(("http://127.0.0.1:9",), DEPLOYMENT, 10, None))
    assert await past(node, scout) == await past(node, None)
    assert not SAID, "the writer asks for itself, and says what it meets"


async def test_the_writer_goes_on_where_a_killed_scout_stood(node: Providers, scout: Scout) -> None:
    class Killing:
        """Kills the scout once it has told something."""

        async def reads(
            self, start: Block, final: Block, markets: Iterable[Address]
        ) -> AsyncIterator[list[Read]]:
            async for reads in scout.reads(start, final, markets):
                yield reads
                for child in children():
                    os.kill(child, signal.SIGKILL)

        async def close(self) -> None:
            await scout.close()

    assert await past(node, Killing()) == await past(node, None)
    assert SAID == ["the scout ended with -9; the writer reads the past by itself"]


async def test_a_scout_without_an_errand_ends_where_the_past_does(
    node: Providers, scout: Scout
) -> None:
    await scout.begin()
    assert children()
    head = await node.head()
    async for _ in Follower(node, Canon([head]), DEPLOYMENT, (), None, scout).batches():
        break
    assert not children()
    assert not SAID


async def test_no_scout_outlives_the_writer(node: Providers, scout: Scout) -> None:
    async for batch in Follower(node, Canon(), DEPLOYMENT, (), None, scout).batches():
        if isinstance(batch[0], Read):
            assert children()
            break
    await scout.close()
    assert not children()


def children() -> list[int]:
    """Scouts of this process."""
    found = []
    for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        if b"indexer.scout" in Path(f"/proc/{child}/cmdline").read_bytes():
            found.append(int(child))
    return found
