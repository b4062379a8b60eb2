"""Recordings line by line: what is accepted, what is named; and how one is made."""

import gzip
import json
import os
import tracemalloc
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from indexer.chain.recording import BadRecording, NewRecording, Playback, RecordedBlock, Recording
from indexer.domain.block import Block
from indexer.domain.canon import Canon
from indexer.domain.deployment import BadDeployment, Deployment, parse_deployment
from indexer.domain.step import Advance
from indexer.domain.units import Hash

Json = dict[str, Any]
HEADER: Json = {
    "protocol": "gtx",
    "chain_id": 5,
    "contracts": {"pool_manager": "0x" + "a1" * 20, "balance_manager": "0x" + "a2" * 20},
    "fee_receiver": "0x" + "a3" * 20,
    "tokens": {"0x" + "a4" * 20: {"symbol": "WETH", "name": "Ether", "decimals": 18}},
}


def name_of(number: int, branch: str = "a") -> Hash:
    return Hash(f"0x{branch * 4}{number:060x}")


def line(number: int, logs: int = 0, branch: str = "a") -> Json:
    return {
        "number": number,
        "hash": name_of(number, branch),
        "parentHash": name_of(number - 1, branch) if number else "0x" + "00" * 32,
        "timestamp": 1_700_000_000 + number,
        "logsBloom": "0x",
        "logs": [
            {
                "address": "0x" + "a1" * 20,
                "topics": ["0x" + "b1" * 32],
                "data": "0xc0de",
                "blockHash": name_of(number, branch),
                "blockNumber": hex(number),
                "transactionHash": "0x" + "d1" * 32,
                "logIndex": hex(index),
            }
            for index in range(logs)
        ],
    }


def block(number: int, branch: str = "a") -> Block:
    return msgspec.convert(line(number, branch=branch), RecordedBlock).block


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Recording]:
    def write(*lines: Json, header: Json = HEADER) -> Recording:
        path = tmp_path / "chain.jsonl.gz"
        path.write_bytes(
            gzip.compress(b"".join(msgspec.json.encode(x) + b"\n" for x in (header, *lines)))
        )
        return Recording(path)

    return write


BAD_BLOCKS: list[tuple[str, Any]] = [
    ("hash", "0x" + "A1" * 32),
    ("hash", "0x12"),
    ("hash", name_of(2) + "\n"),
    ("parentHash", "a" * 66),
    ("timestamp", 2**63),
    ("timestamp", -1),
    ("number", 2**63),
    ("number", -1),
]


@pytest.mark.parametrize(("field", "value"), BAD_BLOCKS)
def test_a_block_of_wrong_form_is_named(
    write: Callable[..., Recording], field: str, value: Any
) -> None:
    recording = write(line(1), line(2) | {field: value})
    with pytest.raises(BadRecording, match=rf"{recording.path}: line 3 .*\$\.{field}"):
        list(recording.blocks())


BAD_LOGS: list[tuple[str, Any, str]] = [
    ("transactionHash", "0x12", "log '0x1': expected transaction_hash like .* found '0x12'"),
    ("transactionHash", "0x" + "zz" * 32, "expected transaction_hash"),
    ("transactionHash", "0x" + "d1" * 32 + "\n", "expected transaction_hash"),
    ("address", "0x" + "a1" * 19, "expected address"),
    ("topics", ["0x12"], "expected at most 4 topics"),
    ("topics", ["0x" + "b1" * 32] * 5, "expected at most 4 topics"),
    ("data", "c0de", "expected data in hex, found 'c0de'"),
    ("data", "0x c0de", "expected data in hex"),
    ("logIndex", "1", "expected log_index"),
    ("logIndex", "0x", "expected log_index"),
    ("logIndex", "0x80000000", "expected log_index"),
    ("logIndex", "0x0", "expected a log index above 0x0, found 0x0"),
    ("blockNumber", "two", "expected block_number"),
    ("blockNumber", "0x3", "says block number 0x3, expected 0x2"),
    ("blockHash", name_of(3), "says block 0x"),
    ("blockHash", "0x12", "expected block_hash"),
]


@pytest.mark.parametrize(("field", "value", "said"), BAD_LOGS)
def test_a_log_of_wrong_form_is_named(
    write: Callable[..., Recording], field: str, value: Any, said: str
) -> None:
    bad = line(2, logs=2)
    bad["logs"][1][field] = value
    recording = write(line(1), bad)
    with pytest.raises(BadRecording, match=f"{recording.path}: line 3: block 2: .*{said}") as told:
        list(recording.blocks())
    assert "\n" not in str(told.value)


def test_log_indices_must_rise(write: Callable[..., Recording]) -> None:
    bad = line(1, logs=3)
    bad["logs"].reverse()
    with pytest.raises(BadRecording, match=r"line 2: .*above 0x2, found 0x1"):
        list(write(bad).blocks())


@pytest.mark.parametrize("raw", [b'{"number":1,"hash":"\xff"}', b'{"x":' + b"[" * 5000])
def test_bytes_that_are_no_json_are_named(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "chain.jsonl.gz"
    path.write_bytes(gzip.compress(msgspec.json.encode(HEADER) + b"\n" + raw + b"\n"))
    with pytest.raises(BadRecording, match="line 2 is no block"):
        list(Recording(path).blocks())
    path.write_bytes(gzip.compress(raw + b"\n"))
    with pytest.raises(BadRecording, match="line 1 is no header"):
        Recording(path)


def test_checksummed_logs_are_read_in_lower_case(write: Callable[..., Recording]) -> None:
    shouted = line(1, logs=1)
    log = shouted["logs"][0]
    for field in ("address", "data", "transactionHash", "blockHash"):
        log[field] = "0x" + log[field][2:].upper()
    log["topics"] = ["0x" + "B1" * 32]
    recording = write(shouted)
    (found,) = recording.blocks()
    assert found == msgspec.convert(line(1, logs=1), RecordedBlock)
    only_data = line(1, logs=1)
    only_data["logs"][0]["data"] = "0xC0DE"
    (found,) = write(only_data).blocks()
    assert found.logs[0].data == "0xc0de"


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("chain_id", 0, "chain_id"),
        ("chain_id", 2**63, "chain_id"),
        ("start_block", -1, "start_block"),
        ("tokens", {"0x" + "a4" * 20: {"symbol": "X", "name": "X", "decimals": 78}}, "decimals"),
        ("tokens", {"0x" + "a4" * 20: {"symbol": "X", "name": "X", "decimals": -1}}, "decimals"),
        ("tokens", {"0x" + "a4" * 20: {"symbol": "\0", "name": "X", "decimals": 1}}, "symbol"),
    ],
)
def test_a_number_out_of_range_in_a_header_is_named(
    write: Callable[..., Recording], field: str, value: Any, said: str
) -> None:
    header = HEADER | {field: value}
    with pytest.raises(BadDeployment, match=said):
        parse_deployment(msgspec.json.encode(header))
    with pytest.raises(BadRecording, match=f"line 1 is no header: .*{said}"):
        write(header=header)


# -- playing one onto a chain that is there ---------------------------------------------------


async def played(recording: Recording, canon: Canon) -> list[int]:
    """The numbers of the blocks that a playback adds."""
    batches: AsyncIterator[Any] = Playback(recording, canon).batches()
    steps = [step async for batch in batches for step in batch]
    assert all(isinstance(step, Advance) for step in steps)
    return [step.block.number for step in steps]


def lines(first: int, last: int, branch: str = "a") -> list[Json]:
    return [line(number, branch=branch) for number in range(first, last + 1)]


async def test_what_is_known_is_passed_over(write: Callable[..., Recording]) -> None:
    canon = Canon([block(5)])
    assert await played(write(*lines(0, 7)), canon) == [6, 7]
    assert await played(write(*lines(0, 7)), canon) == []
    assert await played(write(*lines(0, 9)), canon) == [8, 9]


@pytest.mark.parametrize("last", [4, 5, 7])
async def test_another_chain_at_a_height_that_can_be_compared(
    write: Callable[..., Recording], last: int
) -> None:
    canon = Canon([block(3), block(4), block(5)])
    with pytest.raises(BadRecording, match=r"block 3 .* does not continue the database's chain"):
        await played(write(*lines(0, last, "b")), canon)


async def test_a_recording_that_ends_below_what_can_be_compared(
    write: Callable[..., Recording],
) -> None:
    for branch in ("a", "b"):
        with pytest.raises(BadRecording, match=r"ends at block 3 .* can be compared, 5: nothing"):
            await played(write(*lines(0, 3, branch)), Canon([block(5)]))
    assert await played(write(*lines(0, 4)), Canon([block(4), block(5)])) == []


async def test_a_first_block_whose_number_does_not_follow(write: Callable[..., Recording]) -> None:
    odd = line(9) | {"parentHash": name_of(5)}
    with pytest.raises(BadRecording, match="does not continue"):
        await played(write(odd), Canon([block(5)]))


# -- making one ---------------------------------------------------------------------------------

DEPLOYMENT: Deployment = parse_deployment(msgspec.json.encode(HEADER))


def test_a_recording_is_there_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "chain.jsonl.gz"
    blocks = [msgspec.convert(one, RecordedBlock) for one in (line(1, 2), line(2), line(3, 1))]
    path.write_bytes(b"the one before")
    with NewRecording(path) as recording:
        recording.add(blocks[:2])
        assert (tmp_path / "chain.jsonl.gz.new").exists()
        recording.add(blocks[2:])
        assert path.read_bytes() == b"the one before"
        recording.finish(DEPLOYMENT)
    assert recording.blocks == 3
    assert list(tmp_path.iterdir()) == [path]
    assert list(Recording(path).blocks()) == blocks
    assert Recording(path).deployment == DEPLOYMENT


def test_a_recording_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with NewRecording(tmp_path / "chain.jsonl.gz") as recording:
            recording.add([msgspec.convert(line(1), RecordedBlock)])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not list(tmp_path.iterdir())


def test_blocks_do_not_wait_in_memory(tmp_path: Path) -> None:
    many = [msgspec.convert(line(number, 20), RecordedBlock) for number in range(1, 100)]

    def endless(times: int) -> int:
        tracemalloc.start()
        with NewRecording(tmp_path / "chain.jsonl.gz") as recording:
            for _ in range(times):
                recording.add(many)
            recording.finish(DEPLOYMENT)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    endless(1)
    assert endless(8) < endless(1) + 100_000


def test_a_pipe_is_not_taken_for_a_recording_without_blocks() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader), os.fdopen(writer, "wb") as pipe:
        text = "".join(json.dumps(part) + "\n" for part in (HEADER, line(0), line(1)))
        pipe.write(gzip.compress(text.encode()))
        pipe.close()
        recording = Recording(Path(f"/dev/fd/{reader}"))
        with pytest.raises(BadRecording, match="read only once"):
            list(recording.blocks())
