"""A kept chain: what a client was told before a restart, clean or not, is told again after it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from contracts_test import keeper as keeping
from contracts_test.accounts import ADDRESSES
from contracts_test.engine import Edit
from contracts_test.exchange import Exchange, deployment_steps
from contracts_test.flow import FlowConfig, LocalTransport, burst
from contracts_test.flow.drive import PATRON, Driver
from contracts_test.journal import (
    DataDirDamaged,
    DataDirError,
    DataDirInUse,
    DataDirOtherChain,
    DataDirOtherVersion,
)
from contracts_test.node import Config, Devnet, build_node
from contracts_test.rpc.node import Node
from tests.devnet.conformance import Peer

GENESIS = 1_700_000_000
ALICE, BOB, STRANGER = ("0x" + a.hex() for a in (ADDRESSES[1], ADDRESSES[2], b"\xab" * 20))
LONG_S = 20.0


def kept(directory: Path | None, **more: Any) -> Config:
    return Config(port=0, genesis_timestamp=GENESIS, timestamp_step_s=1, data_dir=directory, **more)


@contextmanager
def opened(config: Config) -> Iterator[Node]:
    node, _ = build_node(config)
    try:
        yield node
    finally:
        if node.keeper is not None:
            node.keeper.close()


def ask(node: Node, method: str, *params: Any) -> Any:
    answer = node.answer({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)})
    assert "error" not in answer, answer
    return answer["result"]


def told_by(node: Node) -> dict[str, Any]:
    """Everything a client may have been told of a chain's past, and what depends on its state."""
    everything = {"fromBlock": "0x0", "toBlock": "latest"}
    height = node.chain.head.number
    blocks = [ask(node, "eth_getBlockByNumber", hex(n), True) for n in range(height + 1)]
    return {
        "blocks": blocks,
        "by hash": [ask(node, "eth_getBlockByHash", b["hash"], True) for b in blocks],
        "receipts": [ask(node, "eth_getBlockReceipts", b["number"]) for b in blocks],
        "receipt": [
            ask(node, "eth_getTransactionReceipt", t["hash"])
            for b in blocks
            for t in b["transactions"]
        ],
        "logs": ask(node, "eth_getLogs", everything),
        "marks": [ask(node, "eth_getBlockByNumber", t, False) for t in ("safe", "finalized")],
        "pending": ask(node, "eth_getBlockByNumber", "pending", True),
        "pool": ask(node, "txpool_content"),
        "balances": [ask(node, "eth_getBalance", a, "latest") for a in (ALICE, BOB, STRANGER)],
        "past": ask(node, "eth_getBalance", ALICE, hex(max(0, height - 2))),
        "accounts": ask(node, "eth_accounts"),
        "fees": ask(node, "eth_feeHistory", "0x4", "latest", []),
    }


def killed(directory: Path, to: Path) -> Path:
    """What a process killed at this moment would leave: its files, and no lock."""
    (to / "devnet").mkdir(parents=True)
    shutil.copy(directory / "devnet" / "chain", to / "devnet" / "chain")
    return to


# ---------------------------------------------------------------------------------------- laws


def send(value: int, sender: str = ALICE, **more: Any) -> dict[str, Any]:
    return {"from": sender, "to": BOB, "value": hex(value), **more}


SESSION: list[tuple[Any, ...]] = [
    ("eth_sendTransaction", send(1)),
    ("evm_setAutomine", False),
    ("eth_sendTransaction", send(2)),
    ("eth_sendTransaction", send(3, nonce="0x9")),  # waits for earlier ones
    ("eth_sendTransaction", send(4, BOB)),
    ("evm_mine",),
    ("anvil_setBalance", STRANGER, hex(10**20)),
    ("anvil_impersonateAccount", STRANGER),
    ("eth_sendTransaction", send(5, STRANGER)),
    ("evm_mine",),
    ("anvil_setStorageAt", BOB, "0x1", "0x" + "22" * 32),
    ("evm_increaseTime", 100),
    ("anvil_mine", 5, 7),
    ("eth_sendTransaction", send(6)),
    ("evm_mine",),
    ("anvil_setBalance", BOB, "0x1234"),  # the head's state alone
    ("anvil_reorg", 3, []),
    ("eth_sendTransaction", send(7)),
    ("anvil_setNextBlockBaseFeePerGas", hex(5 * 10**9)),
    ("evm_setNextBlockTimestamp", GENESIS + 10_000),
    ("evm_mine",),
    ("anvil_rollback", 1),
    ("anvil_setCoinbase", STRANGER),
    ("evm_setBlockGasLimit", hex(20_000_000)),
    ("eth_sendTransaction", send(8)),
    ("eth_sendTransaction", send(9)),
    ("anvil_dropAllTransactions",),
    ("eth_sendTransaction", send(10)),
    ("eth_sendTransaction", send(11, nonce="0x40")),
    ("anvil_mine", 2),
]


def test_a_chain_killed_after_every_request_is_the_chain_that_never_was(tmp_path: Path) -> None:
    """Whatever bends it: blocks to come are the same, too, as their hashes say."""
    with opened(kept(None, deploy=False)) as whole:
        directory = tmp_path / "0"
        automine = True
        for i, (method, *params) in enumerate(SESSION, start=1):
            expected = ask(whole, method, *params)
            with opened(kept(directory, deploy=False)) as node:
                node.chain.automine = automine  # how it mines is for whoever starts it to say
                assert ask(node, method, *params) == expected, (method, params)
                automine = node.chain.automine
                directory = killed(directory, tmp_path / str(i))
        with opened(kept(directory, deploy=False)) as node:
            assert told_by(node) == told_by(whole)
            assert len(node.chain.pool) == 1


def test_a_snapshot_gone_back_to_is_kept(tmp_path: Path) -> None:
    with opened(kept(tmp_path / "a")) as node:
        number = ask(node, "evm_snapshot")
        ask(node, "eth_sendTransaction", send(1))
        ask(node, "anvil_setBalance", BOB, "0x1")
        node.chain.mine(3)
        ask(node, "evm_revert", number)
        node.chain.edit(ADDRESSES[2], Edit(balance=77))  # not by a request, and mined upon
        node.chain.mine()
        with opened(kept(killed(tmp_path / "a", tmp_path / "b"))) as again:
            assert told_by(again) == told_by(node)
            assert again.chain.account_nonce(ADDRESSES[1]) == 0
            assert int(ask(again, "eth_getBalance", BOB, "latest"), 16) == 77


# ------------------------------------------------------------------------------------- stories


async def test_a_clean_restart_changes_nothing(tmp_path: Path) -> None:
    async with Devnet(kept(tmp_path)) as devnet:
        assert devnet.exchange is not None
        await burst(devnet.exchange, LocalTransport(devnet.node), 1, 30, 6)
        told, deployment = told_by(devnet.node), devnet.exchange.deployment()
    async with Devnet(kept(tmp_path)) as devnet:
        assert devnet.exchange is not None
        assert devnet.exchange.deployment() == deployment
        assert told_by(devnet.node) == told
        devnet.chain.fork(4)  # over the restart, into states of before
        forked = told_by(devnet.node)
        assert forked["logs"] != told["logs"]
    async with Devnet(kept(tmp_path)) as devnet:
        assert told_by(devnet.node) == forked


def test_the_file_is_written_anew_before_it_is_much_bigger_than_its_chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "REWRITE_AFTER_BYTES", 20_000)
    monkeypatch.setattr(keeping, "KEPT_STATES", 3)
    monkeypatch.setattr("contracts_test.history.HOT_BLOCKS", 4)
    path = tmp_path / "a" / "devnet" / "chain"
    sizes: list[int] = []
    few: dict[str, int] = {"finalized_distance": 2, "state_history": 8}
    with opened(kept(tmp_path / "a", **few)) as node:
        node.chain.on_change.append(lambda change: sizes.append(path.stat().st_size))
        for value in range(100):
            ask(node, "eth_sendTransaction", send(value))
        assert any(later < before for before, later in pairwise(sizes))
        ask(node, "anvil_reorg", 6, [])  # into states that the file has no more
        with opened(kept(killed(tmp_path / "a", tmp_path / "b"), **few)) as again:
            assert told_by(again) == told_by(node)
            file = (tmp_path / "b" / "devnet" / "chain").stat().st_ino
            again.chain.mine()
            assert (tmp_path / "b" / "devnet" / "chain").stat().st_ino == file, "not at each start"


def standard_exchange() -> Exchange:
    """What every devnet deploys."""
    return deployment_steps(ADDRESSES[0], ADDRESSES[9], 31337, 1)[1]


SERVE = """
import asyncio, sys
from pathlib import Path
from contracts_test.flow import FlowConfig
from contracts_test.node import Config, serve
config = Config(port=0, block_time_s=0.05, data_dir=Path(sys.argv[1]))
say = lambda devnet: print(devnet.url, flush=True)
asyncio.run(serve(config, FlowConfig(seed=3, rate=60, tick_s=0.05), say))
"""


async def test_killed_while_it_mines_and_trades(tmp_path: Path) -> None:
    with subprocess.Popen(  # noqa: ASYNC220 - nothing else is to happen meanwhile
        [sys.executable, "-c", SERVE, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        peer = Peer(process.stdout.readline().strip())
        everything = {"fromBlock": "0x0", "toBlock": "latest"}
        deadline = time.monotonic() + LONG_S
        logs: list[Any] = []
        while len(logs) < 400:
            assert time.monotonic() < deadline, "traders trade"
            logs = peer.ask("eth_getLogs", [everything])["result"]
        head = peer.ask("eth_getBlockByNumber", ["latest", False])["result"]
        process.send_signal(signal.SIGKILL)
    config = Config(port=0, block_time_s=0.05, data_dir=tmp_path)
    async with Devnet(config) as devnet:
        node = devnet.node
        assert ask(node, "eth_getBlockByHash", head["hash"], False) == head
        assert ask(node, "eth_getLogs", everything)[: len(logs)] == logs
        opened_with = node.chain.account_nonce(ADDRESSES[PATRON])
        seen = len(ask(node, "eth_getLogs", everything))
        height = node.chain.head.number
        devnet.start_flow(FlowConfig(seed=3, rate=60, tick_s=0.05))
        async with asyncio.timeout(LONG_S):
            while len(ask(node, "eth_getLogs", everything)) < seen + 100:
                await asyncio.sleep(0.05)
        assert node.chain.account_nonce(ADDRESSES[PATRON]) == opened_with, "nobody is paid twice"
        newer = [b for b in node.chain.history.between(height + 1, node.chain.head.number) if b.txs]
        done = [receipt.succeeded for block in newer for receipt in block.receipts]
        assert sum(done) > 0.7 * len(done), "they know what they have and what is in the books"
        times = [b.timestamp for b in node.chain.history.between(0, node.chain.head.number)]
        assert all(b > a for a, b in pairwise(times))


async def test_a_flow_begins_where_its_opening_was_cut_off(tmp_path: Path) -> None:
    with opened(kept(tmp_path / "a")) as node:
        exchange = standard_exchange()
        node.chain.automine = False
        driver = Driver(exchange, LocalTransport(node), 1)
        opening = driver.flow.opening(dict.fromkeys(driver.flow.by_address, 0))
        cut = asyncio.create_task(driver.open(mine=True))
        while not any(b.txs[0].sender != ADDRESSES[PATRON] for b in traded(node)):
            await asyncio.sleep(0)
        cut.cancel()
        directory = killed(tmp_path / "a", tmp_path / "b")
    with opened(kept(directory)) as node:
        await burst(exchange, LocalTransport(node), 1, 20)
        for trader in driver.flow.traders:
            steps = [i.step.data for i in opening if i.sender == trader.address]
            sent = [tx.data for b in traded(node) for tx in b.txs if tx.sender == trader.address]
            assert sent[: len(steps)] == steps


def traded(node: Node) -> list[Any]:
    return [b for b in node.chain.history.between(2, node.chain.head.number) if b.txs]


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
