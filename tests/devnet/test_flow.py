"""The order flow: the same for the same seed, alive in all markets, equal on another engine."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from contracts_test.accounts import ADDRESSES, KEY_OF
from contracts_test.engine import TxFields
from contracts_test.exchange import Exchange, deployment_steps
from contracts_test.flow import FlowConfig, HttpTransport, LocalTransport, burst, run_against
from contracts_test.flow.books import MATCHED
from contracts_test.flow.drive import Driver
from contracts_test.flow.traders import Flow
from contracts_test.node import BOOT_FEE, BOOT_GAS, Config, Devnet, build_node
from contracts_test.pyevm import PyEvmEngine
from contracts_test.rpc.node import Node
from tests.devnet.conformance import Peer
from tests.devnet.test_conformance import spawn_anvil

FIXED = Config(genesis_timestamp=1_700_000_000, timestamp_step_s=1)
ORDERS = 120


async def burst_here(seed: int, orders: int = ORDERS) -> tuple[Node, Driver, Exchange]:
    node, exchange = build_node(FIXED)
    assert exchange is not None
    driver = await burst(exchange, LocalTransport(node), seed, orders)
    return node, driver, exchange


async def test_a_seed_gives_the_same_chain_again() -> None:
    heads = [(await burst_here(5))[0].chain.head.hash for _ in range(2)]
    assert heads[0] == heads[1]
    assert (await burst_here(6))[0].chain.head.hash != heads[0]


async def test_every_market_trades_and_somebody_is_always_wrong() -> None:
    node, driver, exchange = await burst_here(1, 400)
    matched: Counter[bytes] = Counter()
    failed = 0
    for block in node.chain.history.between(2, node.chain.head.number):
        for receipt in block.receipts:
            failed += not receipt.succeeded
            matched.update(
                log.address for log in receipt.logs if "0x" + log.topics[0].hex() == MATCHED
            )
    assert all(matched[market.book] > 5 for market in exchange.markets), matched
    assert 0 < failed < 80
    names = {trader.name.split()[0] for trader in driver.flow.traders}
    assert names == {"maker", "taker", "canceller", "arbitrageur", "fat"}


def test_turns_are_pure() -> None:
    _, exchange = build_node(FIXED)
    assert exchange is not None
    assert Flow(exchange, 3).turns(50) == Flow(exchange, 3).turns(50)


async def test_a_paced_flow_over_http_survives_reorgs_and_an_outage() -> None:
    config = Config(port=0, block_time_s=0.1)
    async with Devnet(config) as devnet:
        trading = asyncio.create_task(
            run_against(devnet.url, FlowConfig(seed=2, rate=60, tick_s=0.05))
        )
        async with asyncio.timeout(20):
            while not has_trades(devnet):
                await asyncio.sleep(0.05)
        devnet.chain.fork(
            devnet.chain.head.number - 1,
            keep=lambda tx: False,  # all but the exchange
        )
        assert not has_trades(devnet)
        devnet.node.chaos.outage_until = asyncio.get_running_loop().time() + 0.3
        async with asyncio.timeout(20):
            while not has_trades(devnet):
                await asyncio.sleep(0.05)
        assert not trading.done()
        trading.cancel()


async def test_what_a_reorg_takes_from_the_traders_before_they_begin_is_given_again() -> None:
    node, exchange = build_node(FIXED)
    assert exchange is not None
    lost = LosesAll(node, at=2)
    driver = Driver(exchange, lost, 1)
    await driver.set_automine(False)
    async with asyncio.timeout(20):
        await driver.open(mine=True)
    assert lost.mined > 4
    await driver.send_intents(driver.flow.turns(20))
    await driver.mine()
    logs = [log for receipt in node.chain.head.receipts for log in receipt.logs]
    assert len(logs) > 10, "they have something to trade with"


class LosesAll(LocalTransport):
    """At one of the blocks that it is asked for, a reorg drops everything above the exchange."""

    def __init__(self, node: Node, at: int) -> None:
        super().__init__(node)
        self.mined = 0
        self._at = at

    async def send(self, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
        answers = await super().send(requests)
        self.mined += requests[0]["method"] == "anvil_mine"
        if self.mined == self._at:
            self.mined += 1
            chain = self._node.chain
            chain.fork(chain.head.number - 1, keep=lambda tx: False)
        return answers


def has_trades(devnet: Devnet) -> bool:
    blocks = devnet.chain.history.newest(20)
    logs = (log for block in blocks for receipt in block.receipts for log in receipt.logs)
    return any("0x" + log.topics[0].hex() == MATCHED for log in logs)


async def test_anvil_tells_the_same_story_log_by_log() -> None:
    """The same contracts and the same orders on another engine give the same logs."""
    node, exchange = build_node(FIXED)
    assert exchange is not None
    await burst(exchange, LocalTransport(node), 4, ORDERS)
    with spawn_anvil("--timestamp", "1700000000", "--order", "fifo") as anvil:
        anvil.ask("anvil_setBlockTimestampInterval", [1])
        theirs = deploy_over_rpc(anvil)
        assert theirs.deployment() == exchange.deployment()
        async with HttpTransport(anvil.url) as http:
            await burst(theirs, OneByOne(http), 4, ORDERS)
        wanted = {"fromBlock": "0x0", "toBlock": "latest"}
        there = anvil.ask("eth_getLogs", [wanted])["result"]
    here = node.answer({"id": 1, "method": "eth_getLogs", "params": [wanted]})["result"]
    assert [_essence(log) for log in here] == [_essence(log) for log in there]
    assert len(here) > 300


class OneByOne:
    """anvil works on the calls of a batch at the same time, so their order would be luck."""

    def __init__(self, http: HttpTransport) -> None:
        self._http = http

    async def send(self, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [(await self._http.send([request]))[0] for request in requests]


def deploy_over_rpc(peer: Peer) -> Exchange:
    engine = PyEvmEngine(31337)
    deployer = ADDRESSES[0]
    steps, exchange = deployment_steps(deployer, ADDRESSES[9], 31337, 1)
    peer.ask("evm_setAutomine", [False])
    for nonce, step in enumerate(steps):
        fields = TxFields(nonce, step.to, 0, BOOT_GAS, step.data, None, BOOT_FEE, 0)
        raw = engine.encode(engine.sign(fields, KEY_OF[deployer]))
        answer = peer.ask("eth_sendRawTransaction", ["0x" + raw.hex()])
        if "error" in answer:
            pytest.fail(json.dumps(answer))
    peer.ask("evm_setBlockGasLimit", [hex(BOOT_GAS * len(steps))])
    peer.ask("anvil_mine", [])
    peer.ask("evm_setBlockGasLimit", [hex(30_000_000)])
    return exchange


def _essence(log: dict[str, Any]) -> tuple[Any, ...]:
    names = ("blockNumber", "logIndex", "transactionHash", "address", "topics", "data")
    return tuple(log[name] for name in names)
