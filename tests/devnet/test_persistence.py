"""A kept chain: what a client was told before a restart, clean or not, is told again after it."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
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
from contracts_test.node import Config, Devnet
from contracts_test.rpc.node import Node
from tests.devnet.conformance import Peer
from tests.devnet.kept import (
    BOB,
    GENESIS,
    STRANGER,
    ask,
    kept,
    killed,
    opened,
    send,
    told_by,
)

LONG_S = 20.0


# ---------------------------------------------------------------------------------------- laws


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
