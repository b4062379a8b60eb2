"""What a token says of itself."""

import re

from indexer.chain.errors import RpcError, Unreachable
from indexer.chain.rpc import Rpc
from indexer.domain.block import Block
from indexer.domain.market import Token
from indexer.domain.units import Address

REVERTED, NO_SUCH_METHOD = 3, -32601
"""JSON-RPC's codes for a call that the contract refused, and for a node that makes none."""
_IDENTITY = Address("0x" + "00" * 19 + "04")
"""The precompiled contract that gives back what it is given."""
ASKED_AGAIN = 3
"""How often a node must fail one call, and answer another in between, for it to be the call's
fault: a node in trouble fails some of either, and what it names a token by stays."""
MAX_WORDS = 64
"""Characters kept of a token's symbol or name."""


async def token(rpc: Rpc, address: Address, at: Block, *, is_last: bool = False) -> Token:
    """Symbol, name and decimals at a block.

    Anybody can create a market of anything, so nothing a contract does is fatal: a token that will
    not say its symbol is called by its address, one without decimals counts as having 18. Raises
    RpcError or Unreachable where the node did not ask it. There are more ways to fail than nodes
    have words for: asked for the last time, it is the contract's fault if the node goes on
    answering other calls.
    """
    symbol, name, decimals = [
        await _word(rpc, address, selector, at, is_last)
        for selector in ("0x95d89b41", "0x06fdde03", "0x313ce567")
    ]
    places = int.from_bytes(decimals[:32], "big") if len(decimals) >= 32 else 18
    short = f"{address[:6]}…{address[-4:]}"
    return Token(
        address,
        _text(symbol) or short,
        _text(name) or short,
        places if places <= 77 else 18,
    )


_CONTRACTS_FAULT = re.compile(
    r"revert|execution|invalid opcode|bad instruction|invalid jump|out of gas|stack|^vm ",
    re.IGNORECASE,
)
"""The node has asked, and the contract would not answer."""


async def _word(rpc: Rpc, address: Address, selector: str, at: Block, is_last: bool) -> bytes:
    for _ in range(ASKED_AGAIN if is_last else 1):
        try:
            return await _call(rpc, address, selector, at)
        except (RpcError, Unreachable) as error:  # to some nodes it is an error of their own
            if _is_contracts_fault(error):
                break
            if not (is_last and await _runs_calls(rpc, at)):
                raise
    return b""


def _is_contracts_fault(error: Exception) -> bool:
    return isinstance(error, RpcError) and (
        error.code in (REVERTED, NO_SUCH_METHOD) or bool(_CONTRACTS_FAULT.search(error.message))
    )


async def _call(rpc: Rpc, address: Address, data: str, at: Block) -> bytes:
    answer = await rpc.call(str, "eth_call", {"to": address, "data": data}, {"blockHash": at.hash})
    try:
        return bytes.fromhex(answer[2:])
    except ValueError:
        return b""


async def _runs_calls(rpc: Rpc, at: Block) -> bool:
    """Whether the node answers a call that no contract can spoil."""
    try:
        await _call(rpc, _IDENTITY, "0x", at)
    except (RpcError, Unreachable):
        return False
    return True


def _text(answer: bytes) -> str:
    """A string, or (older tokens) a bytes32; printable characters only."""
    from eth_abi.abi import decode as decode_abi  # half of a start, and few starts see a token
    from eth_abi.exceptions import DecodingError

    try:
        (text,) = decode_abi(["string"], answer)
    except (DecodingError, OverflowError, UnicodeDecodeError):
        text = answer[:32].rstrip(b"\0").decode(errors="replace") if len(answer) == 32 else ""
    return "".join(c for c in text[:MAX_WORDS] if c.isprintable()).strip()
