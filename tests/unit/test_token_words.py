"""What a token says of itself: a contract may be silent, a node that did not ask may not."""

from typing import Any

import pytest

from indexer.chain.errors import RpcError
from indexer.chain.node import Node
from indexer.domain.market import Token
from tests.unit.scripted import OURS, Chain, Peer, Refused, play

USDC = "0x" + f"{32:064x}{4:064x}" + b"USDC".hex().ljust(64, "0")


def words(peer: Peer) -> Token:
    async def story() -> Token:
        node = Node(peer.rpc(), None, 64)
        return await node.token(OURS, await node.head())

    found: Token = play(story())
    return found


def answering(peer: Peer, code: int, message: str, times: int) -> None:
    def before(method: str, params: Any) -> Any:
        if method != "eth_call":
            return None
        if peer.asked["eth_call"] <= times:
            raise Refused(code, message)
        return f"0x{6:064x}" if params[0]["data"] == "0x313ce567" else USDC

    peer.before = before


def spoiling(peer: Peer, code: int, message: str, times: int = 1_000) -> None:
    """A contract that makes the node say so, so many times; all other calls it answers."""
    left = times

    def before(method: str, params: Any) -> Any:
        nonlocal left
        if method != "eth_call":
            return None
        if params[0]["to"] != OURS:
            return "0x"
        left -= 1
        if left >= 0:
            raise Refused(code, message)
        return f"0x{6:064x}" if params[0]["data"] == "0x313ce567" else USDC

    peer.before = before


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (3, "custom error 0x1234"),
        (-32000, "execution reverted"),
        (-32015, "VM execution error."),
        (-32000, "invalid opcode: INVALID"),
        (-32000, "out of gas"),
        (-32601, "the method eth_call does not exist"),
    ],
)
def test_a_contract_that_will_not_say_is_named_by_its_address(code: int, message: str) -> None:
    peer = Peer(Chain())
    answering(peer, code, message, times=1_000)
    token = words(peer)
    assert (token.symbol, token.decimals) == (f"{OURS[:6]}…{OURS[-4:]}", 18)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (-32000, "gas uint64 overflow"),
        (-32000, "return data out of bounds"),
        (-32603, "EVM error: OutOfOffset"),
        (-32603, "Internal error"),
    ],
)
def test_a_contract_may_fail_in_ways_that_nobody_has_foreseen(code: int, message: str) -> None:
    peer = Peer(Chain())
    spoiling(peer, code, message)
    token = words(peer)
    assert (token.symbol, token.decimals) == (f"{OURS[:6]}…{OURS[-4:]}", 18)


@pytest.mark.parametrize("times", [12, 23])
def test_a_node_that_is_in_trouble_for_a_few_calls_names_no_token(times: int) -> None:
    peer = Peer(Chain())
    spoiling(peer, -32603, "Internal error", times)
    assert (words(peer).symbol, words(peer).decimals) == ("USDC", 6)


def test_a_node_that_has_pruned_the_state_is_asked_at_its_head() -> None:
    peer = Peer(Chain())
    answering(peer, -32000, "missing trie node", times=1)
    assert (words(peer).symbol, words(peer).decimals) == ("USDC", 6)


def test_a_node_that_cannot_say_is_no_contract_that_is_silent() -> None:
    peer = Peer(Chain())
    answering(peer, -32000, "header not found", times=1_000)
    with pytest.raises(RpcError, match="header not found"):
        words(peer)
