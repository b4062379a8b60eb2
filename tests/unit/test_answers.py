"""What a node tells of a range becomes blocks, however it orders or writes it."""

import random

import pytest

from indexer.chain.answers import by_block
from indexer.chain.errors import BadAnswer
from indexer.domain.log import Log
from indexer.domain.units import Address, Hash


def log(number: str, index: str, block: str = "") -> Log:
    return Log(
        Address("0x1"), [], "0x", Hash(block or f"0x{int(number, 16)}"), number, Hash("0x"), index
    )


CHAIN = [
    [log("0x9", "0x0"), log("0x9", "0xf"), log("0x9", "0x10")],
    [log("0xa", "0x0")],
    [log("0x10", "0x2"), log("0x10", "0x3")],
]


def test_logs_in_order_come_by_block() -> None:
    assert by_block([[one for logs in CHAIN for one in logs]]) == CHAIN
    assert by_block([]) == by_block([[]]) == []


@pytest.mark.parametrize("seed", range(5))
def test_logs_out_of_order_or_told_twice_come_by_block_once(seed: int) -> None:
    told = [one for logs in CHAIN for one in logs] * 2
    random.Random(seed).shuffle(told)
    assert by_block([told]) == by_block([told[:5], told[5:]]) == CHAIN


def test_one_number_written_in_two_ways_is_one_block() -> None:
    told = [log("0x5", "0x0"), log("0x05", "0x1")]
    assert by_block([told]) == [told]


def test_a_number_that_is_none_is_a_lie() -> None:
    with pytest.raises(BadAnswer, match="expected a number in hex, found 'nine'"):
        by_block([[log("0x9", "0x0"), log("0x9", "nine")]])
