"""Two nodes tell different logs of a block whose bloom fits both: its receipts decide."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from contracts_test.exchange import Exchange
from contracts_test.flow import LocalTransport, burst
from contracts_test.node import Config, build_node
from contracts_test.rpc.node import Node
from indexer.chain.providers import Providers
from indexer.chain.rpc import Transport
from indexer.chain.source import Watch
from indexer.domain.block import Block
from indexer.domain.deployment import parse_deployment
from indexer.domain.log import Log


class Hiding:
    """A devnet's node that keeps the last log of a block back, and may know no receipts."""

    def __init__(self, node: Node, *, hides: bool, receipts: bool = True) -> None:
        self._node, self._hides, self._receipts = node, hides, receipts

    async def send(self, body: bytes, ids: Sequence[int]) -> bytes:
        asked = json.loads(body)
        found = [self._answer(one) for one in (asked if isinstance(asked, list) else [asked])]
        return json.dumps(found if isinstance(asked, list) else found[0]).encode()

    async def close(self) -> None:
        pass

    def _answer(self, asked: Any) -> Any:
        if asked["method"] == "eth_getBlockReceipts" and not self._receipts:
            error = {"code": -32601, "message": "the method does not exist"}
            return {"jsonrpc": "2.0", "id": asked["id"], "error": error}
        answer = self._node.answer(asked)
        if asked["method"] == "eth_getLogs" and self._hides:
            answer["result"] = answer["result"][:-1]
        return answer


async def busy() -> tuple[Node, Exchange]:
    node, exchange = build_node(Config(genesis_timestamp=1_700_000_000, timestamp_step_s=1))
    assert exchange is not None
    await burst(exchange, LocalTransport(node), 5, 40)
    return node, exchange


@pytest.mark.parametrize("liar", [0, 1], ids=["the leader", "the other"])
@pytest.mark.parametrize("receipts", [True, False], ids=["proven", "unproven"])
async def test_a_log_that_one_keeps_back(liar: int, receipts: bool) -> None:
    node, exchange = await busy()
    peers = [Hiding(node, hides=at == liar, receipts=receipts) for at in range(2)]
    deployment = parse_deployment(msgspec.json.encode(exchange.deployment()))
    watch = Watch(deployment, ())

    async def connect(url: str) -> Transport:
        return peers[int(url[7])]

    providers = await Providers.open(["http://0", "http://1"], deployment, connect=connect)
    try:
        head = await providers.head()
        block, whole = await one_with_bits_to_spare(providers, node, watch, head)
        told = await providers.logs_of(block, watch)
        assert [log.index for log in told] == whole
        states = [one.state for one in providers.roster.report()]
        if receipts:
            assert states[liar] == "quarantined", "caught"
            assert states[1 - liar] == "ok"
        else:
            assert states == ["ok", "ok"], "nobody can say who lied, and more was taken"
            assert providers.roster.report()[liar].faults["disagrees"] == 1
    finally:
        await providers.close()


async def one_with_bits_to_spare(
    providers: Providers, node: Node, watch: Watch, head: Block
) -> tuple[Block, list[int]]:
    """A block whose last log of ours shares address and topics with others: its bloom is silent."""
    for number in range(head.number, 0, -1):
        block = await providers.by_number(number)
        assert block is not None
        asked = {"method": "eth_getLogs", "params": [{"blockHash": block.hash}]}
        answer = node.answer({"jsonrpc": "2.0", "id": 1, **asked})["result"]
        logs = msgspec.convert(answer, list[Log])
        watch.discover(logs)
        ours = [log for log in logs if watch.wants(log)]
        if len(ours) > 1 and any(ours[-1].address == log.address for log in ours[:-1]):
            return block, [log.index for log in ours]
    raise AssertionError("a quiet devnet")
