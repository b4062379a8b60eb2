"""Receipts prove a block's logs: their root is the header's, and with a log less it is not."""

from typing import Any

import msgspec

from contracts_test.flow import LocalTransport, burst
from contracts_test.node import Config, build_node
from indexer.chain.receipts import Receipt, root_of

NO_RECEIPTS = "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"


async def test_the_root_of_every_block_of_a_busy_devnet() -> None:
    node, exchange = build_node(Config(genesis_timestamp=1_700_000_000, timestamp_step_s=1))
    assert exchange is not None
    await burst(exchange, LocalTransport(node), 5, 180, per_block=150)

    def ask(method: str, *params: Any) -> Any:
        asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        return node.answer(asked)["result"]

    most = 0
    for number in range(node.chain.head.number + 1):
        block = ask("eth_getBlockByNumber", hex(number), False)
        receipts = msgspec.convert(ask("eth_getBlockReceipts", block["hash"]), list[Receipt])
        assert root_of(receipts) == block["receiptsRoot"]
        most = max(most, len(receipts))
        told = [at for at, receipt in enumerate(receipts) if receipt.logs]
        if told:
            one = receipts[told[0]]
            receipts[told[0]] = msgspec.structs.replace(one, logs=one.logs[:-1])
            assert root_of(receipts) != block["receiptsRoot"]
    assert most > 128, "places of two bytes occur"
    assert root_of([]) == NO_RECEIPTS
