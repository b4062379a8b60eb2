"""A header proves itself: its fields hash to its hash, on chains whose headers we know."""

import json
from typing import Any

import msgspec
import pytest

from contracts_test.node import Config, build_node
from indexer.chain.errors import BadAnswer
from indexer.chain.headers import Header, Headers

MAINNET_GENESIS = {
    "number": "0x0",
    "hash": "0xd4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3",
    "parentHash": "0x" + "00" * 32,
    "timestamp": "0x0",
    "logsBloom": "0x" + "00" * 256,
    "sha3Uncles": "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347",
    "miner": "0x" + "00" * 20,
    "stateRoot": "0xd7f8974fb5ac78d9ac099b9ad5018bedc2ce0a72dad1827a1709da30580f0544",
    "transactionsRoot": "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421",
    "receiptsRoot": "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421",
    "difficulty": "0x400000000",
    "gasLimit": "0x1388",
    "gasUsed": "0x0",
    "extraData": "0x11bbe8db4e347b4e8c937c1c8370e4b5ed33adb3db69cbdb7a38e1e50b1b82fa",
    "mixHash": "0x" + "00" * 32,
    "nonce": "0x0000000000000042",
}


def header(fields: dict[str, Any]) -> Header:
    return msgspec.json.decode(json.dumps(fields), type=Header)


@pytest.fixture(scope="module")
def blocks() -> list[dict[str, Any]]:
    """Blocks of a devnet, as it writes them."""
    node, _ = build_node(Config(genesis_timestamp=1_700_000_000, timestamp_step_s=1))
    node.chain.mine(3)
    request = {"jsonrpc": "2.0", "id": 1, "method": "eth_getBlockByNumber"}
    return [
        node.answer({**request, "params": [hex(number), False]})["result"] for number in range(5)
    ]


def test_headers_of_mainnet_and_of_the_devnet_are_proven(blocks: list[dict[str, Any]]) -> None:
    assert header(MAINNET_GENESIS).is_proven
    assert all(header(block).is_proven for block in blocks)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("parentHash", "0x" + "77" * 32),
        ("timestamp", "0x1"),
        ("logsBloom", "0x" + "ff" * 256),
        ("number", "0x9"),
        ("stateRoot", None),
    ],
)
def test_a_header_with_another_s_hash_is_a_lie_where_others_were_proven(
    blocks: list[dict[str, Any]], field: str, value: str | None
) -> None:
    told = Headers()
    told.learn("eth_getBlockByNumber", header(blocks[1]))
    false = header(blocks[4] | {field: value})
    assert told.judges(false)
    with pytest.raises(BadAnswer, match="fields of another hash"):
        told.learn("eth_getBlockByNumber", false)


def test_a_chain_that_hashes_more_than_we_know_is_not_judged(blocks: list[dict[str, Any]]) -> None:
    told = Headers()
    for block in blocks:
        other = header(block | {"extraData": "0xbeef"})
        assert not told.judges(other)
        told.learn("eth_getBlockByNumber", other)
