"""A data directory that is torn, damaged, full, of another kind, or somebody else's."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts_test.journal import (
    DataDirDamaged,
    DataDirError,
    DataDirInUse,
    DataDirOtherChain,
    DataDirOtherVersion,
)
from contracts_test.node import Config, Devnet, build_node
from tests.devnet.kept import (
    ask,
    kept,
    killed,
    opened,
    send,
    told_by,
)

# -------------------------------------------------------------------------------------- damage


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[int]]:
    """A file with three records after the chain's first, and where each of those begins."""
    directory = tmp_path_factory.mktemp("written")
    path = directory / "devnet" / "chain"
    with opened(kept(directory)) as node:
        starts = [path.stat().st_size]
        for value in range(3):
            ask(node, "eth_sendTransaction", send(value))
            starts.append(path.stat().st_size)
        return path.read_bytes(), starts


def put(directory: Path, data: bytes) -> Path:
    (directory / "devnet").mkdir(parents=True, exist_ok=True)
    (directory / "devnet" / "chain").write_bytes(data)
    return directory


@pytest.mark.parametrize(
    "tail",
    [
        lambda record: b"",
        lambda record: record[:1],
        lambda record: record[:15],
        lambda record: record[:16],
        lambda record: record[: len(record) // 2],
        lambda record: record[:-1],
        lambda record: bytes(len(record)),  # what a crashed machine may leave
        lambda record: record[:-100] + bytes(100),
    ],
)
def test_a_torn_tail_is_dropped(
    tmp_path: Path, written: tuple[bytes, list[int]], tail: Callable[[bytes], bytes]
) -> None:
    data, starts = written
    put(tmp_path, data[: starts[2]] + tail(data[starts[2] :]))
    with opened(kept(tmp_path)) as node:
        assert node.chain.head.number == 3
        ask(node, "eth_sendTransaction", send(9))
        told = told_by(node)
        with opened(kept(killed(tmp_path, tmp_path / "again"))) as again:
            assert told_by(again) == told


@pytest.mark.parametrize(
    "change",
    [
        lambda data, starts: flipped(data, 3),  # not even ours
        lambda data, starts: flipped(data, 30),  # the first length
        lambda data, starts: flipped(data, starts[0] - 20),  # the chain itself
        lambda data, starts: flipped(data, starts[0] + 3),  # a later length
        lambda data, starts: flipped(data, starts[1] + 200),  # a record before the last
        lambda data, starts: data[: starts[0] - 1],
        lambda data, starts: data[:20],
        lambda data, starts: b"",
    ],
)
def test_damage_is_told_and_nothing_is_written(
    tmp_path: Path,
    written: tuple[bytes, list[int]],
    change: Callable[[bytes, list[int]], bytes],
) -> None:
    damaged = change(*written)
    put(tmp_path, damaged)
    for _ in range(2):  # a failed start leaves no lock behind
        with pytest.raises(DataDirDamaged, match=rf"{tmp_path}/devnet: .*damaged.*; remove "):
            build_node(kept(tmp_path))
    assert (tmp_path / "devnet" / "chain").read_bytes() == damaged


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


def test_another_format_or_chain_is_refused(
    tmp_path: Path, written: tuple[bytes, list[int]]
) -> None:
    data, _ = written
    put(tmp_path, flipped(data, 19))
    with pytest.raises(DataDirOtherVersion, match=r"another release \(format 17, .* remove "):
        build_node(kept(tmp_path))
    put(tmp_path, flipped(data, 23))
    with pytest.raises(DataDirOtherVersion, match="another layout"):
        build_node(kept(tmp_path))
    put(tmp_path, data)
    with pytest.raises(DataDirOtherChain, match="chain id 31337, but 5 was asked for"):
        build_node(Config(chain_id=5, data_dir=tmp_path))
    with pytest.raises(DataDirOtherChain, match="genesis timestamp"):
        build_node(Config(genesis_timestamp=1, data_dir=tmp_path))
    with opened(Config(data_dir=tmp_path)) as node:  # who asks for no time gets what is there
        assert node.chain.head.number == 4


def test_a_full_disk_takes_nothing_but_the_newest(tmp_path: Path) -> None:
    with opened(kept(tmp_path / "a", deploy=False)) as node:
        node.chain.mine()
        assert node.keeper is not None
        journal = node.keeper._journal
        real = journal._file
        assert real is not None
        journal._file = HalfWritten(real)  # type: ignore[assignment]
        with pytest.raises(OSError, match="full"):
            node.chain.mine()
        before = killed(tmp_path / "a", tmp_path / "b")
        node.chain.mine()  # there is room again: both blocks are written
        after = killed(tmp_path / "a", tmp_path / "c")
    for directory, height in ((before, 1), (after, 3)):
        with opened(kept(directory, deploy=False)) as node:
            assert node.chain.head.number == height


class HalfWritten:
    """A file on a disk that is full in the middle of a record."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, data: bytes) -> None:
        self._file.write(data[: len(data) // 2])
        self._file.flush()
        raise OSError("the disk is full")

    def close(self) -> None:
        self._file.close()


# ----------------------------------------------------------------------------------- one owner

HOLD = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    from contracts_test.journal import Lock
    lock = Lock(Path(sys.argv[1]) / "devnet")
    print("held", flush=True)
    time.sleep(60)
""")


def test_a_directory_is_for_one_process(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(DataDirInUse, match=rf"{tmp_path}/devnet: .*process {process.pid}"):
            build_node(kept(tmp_path))
        process.kill()
        process.wait()
        with opened(kept(tmp_path)), pytest.raises(DataDirInUse, match=str(os.getpid())):
            build_node(kept(tmp_path))


async def test_a_start_that_fails_frees_the_directory(tmp_path: Path) -> None:
    async with Devnet(Config(port=0)) as other:
        for _ in range(2):
            with pytest.raises(OSError, match="in use; choose another with --port"):
                await Devnet(Config(port=other.port, data_dir=tmp_path)).__aenter__()
    with opened(Config(data_dir=tmp_path)):
        pass


def test_a_directory_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataDirError, match="choose another --data-dir"):
        build_node(kept(tmp_path / "file"))
