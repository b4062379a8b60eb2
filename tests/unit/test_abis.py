"""The words are written down right: every topic0 is the hash of its signature."""

import pytest
from eth_utils.crypto import keccak

import abis


@pytest.mark.parametrize("abi", abis.registry().values(), ids=lambda abi: abi.name)
def test_topic0_is_the_hash_of_the_signature(abi: abis.EventAbi) -> None:
    types = [field.type for field in abi.fields]
    if abi.name == "TradingRulesUpdated":  # the one event with a tuple in it
        types = [types[0], f"({','.join(types[1:])})"]
    assert abi.topic0 == "0x" + keccak(text=f"{abi.name}({','.join(types)})").hex()


def test_an_order_is_placed_in_three_shapes() -> None:
    shapes = [abi for abi in abis.registry().values() if abi.name == "OrderPlaced"]
    assert [abi.words for abi in shapes] == [5, 7, 8]
