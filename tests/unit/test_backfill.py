"""Ranges overlap and logs are kept on disk, and what comes out is the chain all the same."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from indexer.chain import backfill as module
from indexer.chain.backfill import backfill, with_headers
from indexer.chain.errors import BadAnswer, RpcError
from indexer.chain.log_cache import LogCache
from indexer.chain.recording import RecordedBlock
from indexer.chain.source import Watch
from indexer.domain.block import Block
from indexer.domain.log import Log
from indexer.domain.logs import Logs, pack
from indexer.domain.units import Hash
from tests.benchmarks.chains import DEPLOYMENT, blocks

EVENTS = 3_000


@pytest.fixture(scope="module")
def chain() -> list[RecordedBlock]:
    return list(blocks(EVENTS))


@pytest.fixture(autouse=True)
def _short_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_RANGE_BLOCKS", 1)
    monkeypatch.setattr(module, "AIM_LOGS", 300)


class Told:
    """A node that tells only the logs of contracts it is asked for, as nodes do."""

    def __init__(self, chain: list[RecordedBlock], most_blocks: int = 10_000) -> None:
        self.chain = chain
        self.most_blocks = most_blocks
        self.asked: list[tuple[int, int]] = []
        self.at_once = self.most_at_once = 0

    async def by_number(self, number: int) -> Block | None:
        return self.chain[number].block if number < len(self.chain) else None

    async def blocks_between(self, first: int, last: int, watch: Watch) -> list[Logs]:
        self.asked.append((first, last))
        if last - first >= self.most_blocks:
            raise RpcError("eth_getLogs", -32000, "no")
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        some, found = self.chain[first : last + 1], set[tuple[str, str]]()
        wanted = {*DEPLOYMENT.contracts.addresses(), *watch.markets}
        await asyncio.sleep(0.001)
        while wanted:
            logs = [log for block in some for log in block.logs if log.address in wanted]
            found |= {(log.block_hash, log.log_index) for log in logs}
            wanted = set(watch.discover(logs))
        self.at_once -= 1
        whole = [
            pack(
                block.block,
                [log for log in block.logs if (log.block_hash, log.log_index) in found],
            )
            for block in some
        ]
        return [one for one in whole if one or one in (whole[0], whole[-1])]


def bare(log: Log) -> tuple[Any, ...]:
    """What a log says, wherever it stands."""
    return log.transaction_hash, log.index, log.address, log.topics, log.data


async def index(node: Any, *, cache: LogCache | None = None) -> list[tuple[Any, ...]]:
    """What all logs say, in the order they come."""
    start, final = node.chain[0].block, node.chain[-1].block
    ranges: AsyncIterator[list[Logs]] = backfill(node, Watch(DEPLOYMENT, ()), start, final, cache)
    found = [one async for some in ranges for one in some]
    numbers = [logs.block.number for logs in found]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == final.number
    return [bare(log) for logs in found for log in logs]


def by_range(folder: Path) -> list[Path]:
    """The entries below a folder."""
    return sorted(folder.rglob("*.zst"), key=lambda path: int(path.name.split("-")[0]))


def obstruct(entry: Path) -> None:
    entry.unlink()
    entry.mkdir()


def unfinished(folder: Path) -> list[Path]:
    return list(folder.rglob("*.new"))


def linked(chain: list[RecordedBlock]) -> list[RecordedBlock]:
    """The blocks as a chain, whatever they were before."""
    pairs = zip(chain[1:], chain, strict=False)
    return [chain[0], *(replace(block, parent_hash=before.hash) for block, before in pairs)]


def every_log(chain: Sequence[RecordedBlock]) -> list[tuple[Any, ...]]:
    return [bare(log) for block in chain for log in block.logs]


async def test_a_market_announced_while_later_ranges_are_on_their_way(
    chain: list[RecordedBlock],
) -> None:
    quiet = [replace(chain[0], number=number, hash=Hash(f"{number}")) for number in range(3)]
    later = linked([*quiet, *(replace(block, number=block.number + 3) for block in chain)])
    node = Told(later)
    assert await index(node) == every_log(chain)
    assert node.most_at_once > 1
    assert len(node.asked) > len(set(node.asked)), "nothing had to be asked for twice"


async def test_a_range_that_is_refused_comes_in_pieces(chain: list[RecordedBlock]) -> None:
    node = Told(chain, most_blocks=2)
    assert await index(node) == every_log(chain)
    assert any(last - first >= 2 for first, last in node.asked)


async def test_what_was_fetched_once_is_read_from_disk(
    chain: list[RecordedBlock], tmp_path: Path
) -> None:
    first, again = Told(chain), Told(chain)
    assert await index(first, cache=LogCache(tmp_path, DEPLOYMENT)) == every_log(chain)
    assert await index(again, cache=LogCache(tmp_path, DEPLOYMENT)) == every_log(chain)
    assert first.asked
    assert not again.asked


async def test_a_longer_chain_goes_on_where_the_cache_ends(
    chain: list[RecordedBlock], tmp_path: Path
) -> None:
    await index(Told(chain[:20]), cache=LogCache(tmp_path, DEPLOYMENT))
    node = Told(chain)
    assert await index(node, cache=LogCache(tmp_path, DEPLOYMENT)) == every_log(chain)
    assert min(first for first, _ in node.asked) == 20


@pytest.mark.parametrize("damage", ["cut", "bits", "foreign", "empty"])
async def test_a_damaged_entry_is_told_and_fetched_anew(
    chain: list[RecordedBlock], tmp_path: Path, damage: str
) -> None:
    await index(Told(chain), cache=LogCache(tmp_path, DEPLOYMENT))
    entries = by_range(tmp_path)
    victim = entries[len(entries) // 2]
    whole = victim.read_bytes()
    victim.write_bytes(
        {
            "cut": whole[:-9],
            "bits": whole[:200] + bytes([whole[200] ^ 1]) + whole[201:],
            "foreign": entries[0].read_bytes(),
            "empty": b"",
        }[damage]
    )
    told: list[str] = []
    node = Told(chain)
    cache = LogCache(tmp_path, DEPLOYMENT, told.append)
    assert await index(node, cache=cache) == every_log(chain)
    assert [str(victim) in line and "damaged" in line for line in told] == [True]
    first, last = map(int, victim.name.split("-")[:2])
    assert all(first <= low <= high <= last for low, high in node.asked)
    healed = Told(chain)
    assert await index(healed, cache=LogCache(tmp_path, DEPLOYMENT)) == every_log(chain)
    assert not healed.asked


async def test_an_entry_that_can_neither_be_read_nor_dropped_nor_written_stops_nobody(
    chain: list[RecordedBlock], tmp_path: Path
) -> None:
    """A folder in its place refuses root too, as a read-only folder refuses everybody else."""
    await index(Told(chain), cache=LogCache(tmp_path, DEPLOYMENT))
    for entry in by_range(tmp_path):
        obstruct(entry)
    told: list[str] = []
    cache = LogCache(tmp_path, DEPLOYMENT, told.append)
    assert await index(Told(chain), cache=cache) == every_log(chain)
    assert sum("not kept" in line for line in told) == 1, "told once, not of each range"
    assert not unfinished(tmp_path), "what was half done is in nobody's way"


async def test_a_folder_that_cannot_be_listed_is_told_of_and_stops_nobody(
    chain: list[RecordedBlock], tmp_path: Path
) -> None:
    told: list[str] = []
    cache = LogCache(tmp_path / ("x" * 300), DEPLOYMENT, told.append)
    assert await index(Told(chain), cache=cache) == every_log(chain)
    assert ["File name too long" in line for line in told] == [True, True]
    assert "cannot be read" in told[0]


async def test_entries_of_a_branch_that_the_node_has_left_are_not_used(
    chain: list[RecordedBlock], tmp_path: Path
) -> None:
    await index(Told(chain), cache=LogCache(tmp_path, DEPLOYMENT))
    other = linked([*chain[:30], *list(blocks(EVENTS, seed=7))[30:40]])
    told: list[str] = []
    found = await index(Told(other), cache=LogCache(tmp_path, DEPLOYMENT, told.append))
    assert found == every_log(other)
    assert "another branch" in " ".join(told)


async def test_one_log_of_another_block_among_a_blocks_logs_is_a_lie(
    chain: list[RecordedBlock],
) -> None:
    class Teller:
        async def by_numbers(self, numbers: Sequence[int]) -> list[Block]:
            return [chain[number].block for number in numbers]

    first, second, *others = chain[5].logs
    stray = replace(second, block_hash=chain[6].hash)
    with pytest.raises(BadAnswer, match=r"expected logs of block 5 .*a log of block"):
        await with_headers(Teller(), [[first, stray, *others]], 5, 5)
