"""The node: true blocks, reorgs that subscribers see, knobs that break it, errors that say why."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
import rlp  # type: ignore[import-untyped]
from eth_hash.auto import keccak
from websockets.asyncio.client import ClientConnection, connect

from contracts_test import chaos
from contracts_test.accounts import ADDRESSES
from contracts_test.chain import HeadChange
from contracts_test.engine import Block, TxFields
from contracts_test.exchange import SELL
from contracts_test.history import HOT_BLOCKS
from contracts_test.node import Config, Devnet, PortInUse, build_node, serve
from contracts_test.rpc import watching
from contracts_test.rpc.node import Node
from contracts_test.story import ChainBuilder, fork, mine, place
from tests.devnet.conformance import TRANSFER

FIXED = Config(port=0, genesis_timestamp=1_700_000_000, timestamp_step_s=1)
ALICE = "0x" + ADDRESSES[1].hex()
WAIT_S = 10.0


@pytest.fixture
async def served() -> AsyncIterator[Devnet]:
    async with Devnet(FIXED) as devnet:
        yield devnet


async def ask(devnet: Devnet, method: str, *params: Any) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
    async with (
        aiohttp.ClientSession() as session,
        session.post(devnet.url, json=body) as response,
    ):
        answer = await response.json()
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return answer["result"]


async def told(socket: ClientConnection, count: int) -> list[Any]:
    """The next notifications' results."""
    found: list[Any] = []
    while len(found) < count:
        message = json.loads(await asyncio.wait_for(socket.recv(), WAIT_S))
        if "params" in message:
            found.append(message["params"]["result"])
    return found


async def subscribe(socket: ClientConnection, *params: Any) -> str:
    await socket.send(
        json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": params})
    )
    key: str = json.loads(await asyncio.wait_for(socket.recv(), WAIT_S))["result"]
    return key


# ------------------------------------------------------------------------------------- blocks


def header_hash(block: Block) -> bytes:
    """The hash a header must have, from its fields, by hand."""
    empty = keccak(rlp.encode(b""))
    fields: list[Any] = [
        block.parent_hash,
        keccak(rlp.encode([])),
        block.coinbase,
        block.state_root,
        block.transactions_root,
        block.receipts_root,
        block.bloom,
        0,
        block.number,
        block.gas_limit,
        block.gas_used,
        block.timestamp,
        block.extra_data,
        block.mix_hash,
        bytes(8),
        block.base_fee,
        empty,
        0,
        0,
        bytes(32),
        bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ]
    return keccak(rlp.encode(fields))


def bloom_of(block: Block) -> bytes:
    bits = 0
    for receipt in block.receipts:
        for log in receipt.logs:
            for item in (log.address, *log.topics):
                digest = keccak(item)
                for i in (0, 2, 4):
                    bits |= 1 << (int.from_bytes(digest[i : i + 2], "big") & 2047)
    return bits.to_bytes(256, "big")


def test_hashes_and_blooms_are_true(chain: ChainBuilder) -> None:
    chain.run(place("alice", sell=1, at=100), mine(), place("bob", buy=1, at=100), mine(3))
    blocks = list(chain.chain.history.between(0, 100))
    for before, block in itertools.pairwise(blocks):
        assert block.parent_hash == before.hash
        assert block.hash == header_hash(block)
        assert block.bloom == bloom_of(block)
    assert any(any(block.bloom) for block in blocks)


def test_equal_configurations_give_equal_blocks() -> None:
    heads = []
    for _ in range(2):
        node, exchange = build_node(FIXED)
        assert exchange is not None
        ChainBuilder(node.chain, exchange).run(place("alice", sell=1, at=100), mine(2))
        heads.append(node.chain.head.hash)
    assert heads[0] == heads[1]


def test_a_rebuilt_state_has_the_same_root(chain: ChainBuilder) -> None:
    """Edits undone by hand lead back to the very root: state is what it holds, not how it came."""
    engine, root = chain.chain.engine, chain.chain.head.post_root
    from contracts_test.engine import Edit

    book = chain.exchange.markets[0].book
    changed = engine.edit(root, {book: Edit(storage={7: 9, 8: 10})})
    assert changed != root
    assert engine.edit(changed, {book: Edit(storage={7: 0, 8: 0})}) == root


def test_old_states_are_swept_and_new_ones_stay() -> None:
    config = Config(genesis_timestamp=1_700_000_000, timestamp_step_s=1, state_history=16)
    node, exchange = build_node(config)
    assert exchange is not None
    story = ChainBuilder(node.chain, exchange)
    for price in range(100, 140):
        story.run(place("alice", sell=1, at=price), mine())
    assert len(story.levels(SELL)) == 40
    request = {"id": 1, "method": "eth_getBalance", "params": [ALICE, "0x1"]}
    assert "older than this node keeps" in node.answer(request)["error"]["message"]
    request["params"] = [ALICE, hex(node.chain.head.number - 8)]
    assert "result" in node.answer(request)
    story.run(fork(depth=4))
    assert len(story.levels(SELL)) == 40


# --------------------------------------------------------------------------------- websockets


async def test_a_reorg_is_told_in_removed_logs_then_new_ones(served: Devnet) -> None:
    assert served.exchange is not None
    token = "0x" + served.exchange.tokens[0].address.hex()
    data = "0x7b56c2b2" + ADDRESSES[1].hex().rjust(64, "0") + f"{5:064x}"
    async with connect(served.url.replace("http", "ws")) as socket:
        heads = await subscribe(socket, "newHeads")
        logs = await subscribe(socket, "logs", {"address": token, "topics": [[TRANSFER]]})
        assert heads != logs
        await ask(served, "eth_sendTransaction", {"from": ALICE, "to": token, "data": data})
        head, log = await told(socket, 2)
        assert log["blockHash"] == head["hash"]
        assert not log["removed"]
        served.node.chain.fork(1)
        new_1, new_2, removed, again = await told(socket, 4)
        assert (removed["removed"], removed["blockHash"]) == (True, head["hash"])
        assert (again["removed"], again["blockHash"]) == (False, new_1["hash"])
        assert new_1["parentHash"] == head["parentHash"]
        assert new_2["parentHash"] == new_1["hash"]
    await asyncio.sleep(0.1)
    assert not served.node.watchers.subscriptions, "a closed websocket is forgotten"
    assert await ask(served, "eth_getBlockByHash", head["hash"], False) is None


async def test_binary_frames_batches_and_unsubscribing(served: Devnet) -> None:
    async with connect(served.url.replace("http", "ws")) as socket:
        batch = [{"jsonrpc": "2.0", "id": i, "method": "eth_chainId"} for i in range(3)]
        await socket.send(json.dumps(batch).encode())
        answers = json.loads(await socket.recv())
        assert [a["result"] for a in answers] == ["0x7a69"] * 3
        key = await subscribe(socket, "newHeads")
        for expected in (True, False):
            await socket.send(json.dumps({"id": 9, "method": "eth_unsubscribe", "params": [key]}))
            assert json.loads(await socket.recv())["result"] is expected


async def test_a_method_that_fails_shows_no_stack(
    served: Devnet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def explode(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(served.node.view, "logs", explode)
    with pytest.raises(RuntimeError, match="-32603") as caught:
        await ask(served, "eth_getLogs", {})
    assert "secret" not in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert "eth_getLogs failed" in caplog.text, "whoever runs the node is told"


async def test_a_port_in_use_is_named(served: Devnet) -> None:
    with pytest.raises(PortInUse, match=f"port {served.port} on 127.0.0.1 is in use"):
        await Devnet(Config(port=served.port, deploy=False)).start()


@pytest.mark.parametrize("turns", range(5))
async def test_a_devnet_told_to_stop_while_it_starts_stops(turns: int) -> None:
    serving = asyncio.ensure_future(serve(Config(port=0, block_time_s=60)))
    for _ in range(turns):
        await asyncio.sleep(0)
    serving.cancel()
    await asyncio.wait([serving], timeout=WAIT_S)
    assert serving.cancelled()


async def test_blocks_come_by_interval_when_asked(served: Devnet) -> None:
    served.node.chain.automine = False
    served.node.set_interval(0.05)
    before = served.chain.head.number
    await asyncio.sleep(0.4)
    served.node.set_interval(0)
    assert served.chain.head.number - before >= 4
    await asyncio.sleep(0.05)
    height = served.chain.head.number
    await asyncio.sleep(0.15)
    assert served.chain.head.number == height


# --------------------------------------------------------------------------------------- chaos


async def test_a_reorg_by_knob_keeps_transactions_and_is_longer(served: Devnet) -> None:
    await ask(served, "eth_sendTransaction", {"from": ALICE, "to": ALICE, "value": "0x1"})
    changes: list[HeadChange] = []
    served.chain.on_change.append(changes.append)
    answer = await chaos.ask(served.url, "reorg", depth=1)
    (change,) = changes
    assert len(change.added) == 2
    assert [len(b.txs) for b in change.added] == [1, 0]
    assert answer["removed"] == [f"0x{b.hash.hex()}" for b in change.removed]
    await chaos.ask(served.url, "reorg", depth=1, drop=True)
    with pytest.raises(chaos.UnknownKnob, match="from 0 to"):
        await chaos.ask(served.url, "reorg", depth=-1)
    with pytest.raises(chaos.UnknownKnob, match="there are reorg, outage"):
        await chaos.ask(served.url, "earthquake")


async def test_a_reorg_by_knob_goes_no_deeper_than_the_exchange(served: Devnet) -> None:
    exchange = served.chain.head
    await ask(served, "anvil_mine", "0x2")
    answer = await chaos.ask(served.url, "reorg", depth=5, drop=True)
    assert (answer["depth"], answer["ancestor"], len(answer["added"])) == (2, 1, 3)
    assert served.chain.history.at(1) == exchange


async def test_an_outage_cuts_everybody_off_and_ends(served: Devnet) -> None:
    async with connect(served.url.replace("http", "ws")) as socket:
        await subscribe(socket, "newHeads")
        await chaos.ask(served.url, "outage", seconds=0.3)
        with pytest.raises(Exception, match="received"):
            await asyncio.wait_for(socket.recv(), WAIT_S)
    async with aiohttp.ClientSession() as session, session.post(served.url, json={}) as response:
        assert response.status == 503
    await asyncio.sleep(0.35)
    assert await ask(served, "eth_chainId") == "0x7a69"


async def test_stale_slow_wrong_and_forgetful(served: Devnet) -> None:
    await chaos.ask(served.url, "stale")
    height = await ask(served, "eth_blockNumber")
    await ask(served, "anvil_mine", "0x5")
    assert await ask(served, "eth_blockNumber") == height
    await chaos.ask(served.url, "stale", on=False)
    assert int(await ask(served, "eth_blockNumber"), 16) == int(height, 16) + 5

    await chaos.ask(served.url, "wrong-chain", chain_id=5)
    assert await ask(served, "eth_chainId") == "0x5"
    everything = {"fromBlock": "0x0"}
    all_logs = await ask(served, "eth_getLogs", everything)
    await chaos.ask(served.url, "drop-logs", share=0.5)
    some = await ask(served, "eth_getLogs", everything)
    assert 0 < len(some) < len(all_logs)
    assert some == await ask(served, "eth_getLogs", everything)
    await chaos.ask(served.url, "slow", seconds=0.2)
    before = asyncio.get_running_loop().time()
    await ask(served, "eth_chainId")
    assert asyncio.get_running_loop().time() - before >= 0.2
    state = await chaos.ask(served.url, "calm")
    assert state == {
        "outage_s": 0.0, "delay_s": 0.0, "stale_at": None, "drop_logs": 0.0, "chain_id": None,
    }  # fmt: skip
    assert await ask(served, "eth_getLogs", everything) == all_logs


# ------------------------------------------------------------------------------------- bending


def answered(node: Node, method: str, *params: Any) -> Any:
    """The result of a request without a server."""
    answer = node.answer({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)})
    return answer["result"]


def test_a_head_out_of_the_past_can_be_edited() -> None:
    node, _ = build_node(FIXED)
    snapshot = answered(node, "evm_snapshot")
    answered(node, "anvil_mine", hex(HOT_BLOCKS + 10))
    assert answered(node, "evm_revert", snapshot)
    answered(node, "anvil_setBalance", ALICE, "0x7")
    assert answered(node, "eth_getBalance", ALICE) == "0x7"
    answered(node, "anvil_mine")
    assert answered(node, "eth_getBalance", ALICE) == "0x7"


def test_a_snapshot_outlives_the_states_that_came_after_it() -> None:
    """What was set by hand after it, in its own block, may be swept: nobody goes back to that."""
    node, _ = build_node(replace(FIXED, state_history=16))
    before = answered(node, "eth_getBalance", ALICE)
    snapshot = answered(node, "evm_snapshot")
    for balance in ("0x7", "0x8"):
        answered(node, "anvil_setBalance", ALICE, balance)
        answered(node, "anvil_mine", hex(40))
    assert answered(node, "evm_revert", snapshot)
    assert answered(node, "eth_getBalance", ALICE) == before


def test_a_reorg_mines_all_objects_it_is_given() -> None:
    node, _ = build_node(FIXED)
    payment = {"from": ALICE, "to": ALICE, "value": "0x1"}
    answered(node, "eth_sendTransaction", payment)
    answered(node, "anvil_mine")
    answered(node, "anvil_reorg", 2, [[payment, 0], [{**payment, "value": "0x2"}, 0], [payment, 1]])
    assert [len(block.txs) for block in node.chain.history.newest(2)] == [2, 1]


@pytest.mark.parametrize(
    ("method", "to"), [("evm_setTime", 5), ("anvil_setBlockTimestampInterval", 0)]
)
def test_time_never_stands_still_or_goes_back(method: str, to: int) -> None:
    node, _ = build_node(FIXED)
    answered(node, method, to)
    answered(node, "anvil_mine", 2)
    times = [block.timestamp for block in node.chain.history.newest(3)]
    assert times[0] < times[1] < times[2]


def test_block_zero_may_be_a_plain_number(chain: ChainBuilder) -> None:
    chain.run(mine())
    node = Node(chain.chain, chaos.Chaos())
    logs = answered(node, "eth_getLogs", {"fromBlock": "0x0"})
    assert logs
    assert answered(node, "eth_getLogs", {"fromBlock": 0}) == logs


def test_a_filter_that_nobody_reads_is_gone_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    monkeypatch.setattr(watching, "monotonic", lambda: now_s)
    node, _ = build_node(FIXED)
    read, left = answered(node, "eth_newBlockFilter"), answered(node, "eth_newBlockFilter")
    now_s = watching.FILTER_IDLE_S - 1.0
    assert answered(node, "eth_getFilterChanges", read) == []
    now_s = watching.FILTER_IDLE_S + 1.0
    answered(node, "anvil_mine")
    assert len(answered(node, "eth_getFilterChanges", read)) == 1
    assert not answered(node, "eth_uninstallFilter", left), "what it gathered is free, too"


# ---------------------------------------------------------------------------------------- pool


def test_transactions_wait_for_their_nonce_and_can_be_outbid() -> None:
    node, exchange = build_node(FIXED)
    assert exchange is not None
    chain = node.chain
    from contracts_test.accounts import KEY_OF

    def tx(nonce: int, fee: int, gas: int = 50_000) -> Any:
        fields = TxFields(nonce, ADDRESSES[2], 1, gas, b"", None, fee, 0)
        return chain.engine.sign(fields, KEY_OF[ADDRESSES[1]])

    chain.submit(tx(1, 10**12))
    height = chain.head.number
    assert len(chain.pool) == 1, "nonce 0 is missing"
    chain.automine = False
    chain.submit(tx(0, 10**12))
    with pytest.raises(Exception, match="underpriced"):
        chain.submit(tx(0, 10**12 + 1))
    outbid = tx(0, 2 * 10**12)
    chain.submit(outbid)
    (block,) = chain.mine()
    assert block.number == height + 1
    assert [t.nonce for t in block.txs] == [0, 1]
    assert block.txs[0].hash == outbid.hash
    with pytest.raises(Exception, match="nonce too low"):
        chain.submit(tx(0, 10**12))


def test_a_block_takes_no_more_than_its_gas() -> None:
    node, exchange = build_node(FIXED)
    assert exchange is not None
    chain = node.chain
    chain.automine = False
    story = ChainBuilder(chain, exchange)
    story.run(place("alice", sell=1, at=99), mine())
    chain.set_gas_limit(4_000_000)
    story.run(*(place("alice", sell=1, at=100 + i) for i in range(30)), mine())
    assert chain.head.gas_used <= chain.head.gas_limit
    assert 0 < len(chain.pool) < 30, "3 million gas each may be used: they do not all fit"
    while len(chain.pool):
        chain.mine()
    assert len(story.levels(SELL)) == 31


def test_packed_history_reads_the_same_and_can_be_forked(chain: ChainBuilder) -> None:
    inner = chain.chain
    chain.run(place("alice", sell=1, at=100), mine(), place("bob", buy=1, at=100), mine())
    depth = inner.head.number
    before = list(inner.history.between(0, depth))
    chain.run(mine(HOT_BLOCKS + 10))
    after = list(inner.history.between(0, depth))
    assert before == after, "transactions compare without the engine's own object"
    trades = chain.trades()
    assert len(trades) == 1
    chain.run(fork(depth=HOT_BLOCKS + 11))
    assert chain.trades() == trades
