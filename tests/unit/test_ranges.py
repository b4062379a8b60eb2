"""Providers' refusals of a range, in their own words, and what to ask for instead."""

import pytest

from indexer.chain.errors import RpcError
from indexer.chain.ranges import MAX_RANGE_BLOCKS, Ranges, Refusal, refusal

ASKED = 8_000

LASTING = {
    "Alchemy, free": (
        "Under the Free tier plan, you can make eth_getLogs requests with up to a 10 block range.",
        10,
    ),
    "QuickNode": ("eth_getLogs is limited to a 5,000 range", 5_000),
    "QuickNode, older": (
        "eth_getLogs and eth_newFilter are limited to a 5,000 blocks range",
        5_000,
    ),
    "1RPC": ("eth_getLogs is limited to a 1000 blocks range", 1_000),
    "BlockPI": ("eth_getLogs is limited to 1024 block range", 1_024),
    "Cloudflare": ("Max range: 800", 800),
    "Infura": ("range 8000 exceeds limit of 1000", 1_000),
    "Blast": ("getLogs exceeds the range allowed for your plan (8000 > 500)", 500),
    "publicnode": ("exceed maximum block range: 5000", 5_000),
    "Avalanche": ("requested too many blocks from 0 to 8000, maximum is set to 2048", 2_048),
    "thirdweb": ("Maximum allowed number of requested blocks is 3500", 3_500),
    "Coinbase": ("please limit the query to at most 1,000 blocks", 1_000),
    "Merkle": ("eth_getLogs range is too large, max is 1k blocks", 1_000),
    "Moonbeam": ("block range is too wide (maximum 1024)", 1_024),
    "Hyperliquid": ("query exceeds max block range 1000", 1_000),
    "Harmony": ("query must be smaller than size 1024", 1_024),
}
SUGGESTED = {
    "Alchemy": (
        "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range "
        "and no limit on the response size, or you can request any block range with a cap of 10K "
        "logs in the response. Based on your parameters and the response size limit, this block "
        "range should work: [0x0, 0x3e7]",
        1_000,
    ),
    "Infura": (
        "query returned more than 10000 results. Try with this block range [0x64, 0xc7].",
        100,
    ),
    "Erigon": ("query exceeds max results 20000, retry with the range 21102592-21102595", 4),
    "a suggestion longer than what was refused": (
        "this block range should work: [0x0, 0xffff]",
        ASKED // 2,
    ),
}
HALVED = [
    "query returned more than 10000 results",  # geth
    "Log response size exceeded",
    "block range is too wide",  # Ankr
    "query exceeds max results 20000",
    "response is too big",
    "backend response too large",  # Optimism
    "Block range limit exceeded. See more details at https://docs.chainstack.com",
    "block range too large",  # Base
    "logs matched by query exceeds limit of 10000",  # Arbitrum
    "query timeout exceeded",
    "requested range too large",
    "too many results",
    "response size should not greater than 10000000 bytes",  # 1RPC
]
OTHER = [
    "the method does not exist",
    "missing trie node",
    "needs a paid plan",
    "invalid argument 0",
]


@pytest.mark.parametrize("provider", LASTING)
def test_a_limit_that_is_named_is_kept(provider: str) -> None:
    words, blocks = LASTING[provider]
    assert refusal(RpcError("eth_getLogs", -32600, words), ASKED) == Refusal(blocks, lasting=True)


@pytest.mark.parametrize("provider", SUGGESTED)
def test_a_range_that_is_suggested_is_asked_for(provider: str) -> None:
    words, blocks = SUGGESTED[provider]
    assert refusal(RpcError("eth_getLogs", -32602, words), ASKED) == Refusal(blocks, lasting=False)


@pytest.mark.parametrize("words", HALVED)
def test_a_range_too_long_without_a_number_is_halved(words: str) -> None:
    assert refusal(RpcError("eth_getLogs", -32005, words), ASKED) == Refusal(4_000, lasting=False)


@pytest.mark.parametrize("words", OTHER)
def test_another_refusal_is_no_matter_of_range(words: str) -> None:
    assert refusal(RpcError("eth_getLogs", -32000, words), ASKED) is None


def test_words_that_stand_in_the_data_are_read_too() -> None:
    data = '{"payload":"range 8000 is bigger than range limit 2000"}'
    error = RpcError("eth_getLogs", -32602, "invalid params", data)
    assert refusal(error, ASKED) == Refusal(2_000, lasting=True)


def test_one_block_cannot_be_less() -> None:
    assert refusal(RpcError("eth_getLogs", -32005, "too many results"), 1) is None


def test_a_limit_within_which_a_node_still_refuses_is_halved() -> None:
    words = "eth_getLogs is limited to a 8,000 range"
    assert refusal(RpcError("eth_getLogs", -32614, words), ASKED) == Refusal(4_000, lasting=True)


def test_a_dense_stretch_is_forgotten_and_a_limit_is_not() -> None:
    ranges = Ranges()
    ranges.refused(Refusal(3_000, lasting=True))
    ranges.refused(Refusal(1_000, lasting=False))
    for _ in range(5):
        ranges.answered(ranges.blocks)
    assert ranges.blocks == 3_000
    fresh = Ranges()
    fresh.halve()
    fresh.answered(fresh.blocks)
    assert fresh.blocks == MAX_RANGE_BLOCKS
