"""What a token says of itself."""

import re

from indexer.chain.errors import RpcError
from indexer.chain.rpc import Rpc
from indexer.domain.block import Block
from indexer.domain.market import Token
from indexer.domain.units import Address

REVERTED, NO_SUCH_METHOD = 3, -32601
"""JSON-RPC's codes for a call that the contract refused, and for a node that makes none."""
MAX_WORDS = 64
"""Characters kept of a token's symbol or name."""


async def token(rpc: Rpc, address: Address, at: Block) -> Token:
    """Symbol, name and decimals at a block.

    Anybody can create a market of anything, so nothing a contract does is fatal: a token that will
    not say its symbol is called by its address, one without decimals counts as having 18. Raises
    RpcError where the node did not ask it.
    """
    symbol, name, decimals = [
        await _word(rpc, address, selector, at)
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


async def _word(rpc: Rpc, address: Address, selector: str, at: Block) -> bytes:
    call = {"to": address, "data": selector}
    try:
        answer = await rpc.call(str, "eth_call", call, {"blockHash": at.hash})
        return bytes.fromhex(answer[2:])
    except ValueError:
        return b""
    except RpcError as error:
        if error.code in (REVERTED, NO_SUCH_METHOD) or _CONTRACTS_FAULT.search(error.message):
            return b""
        raise


def _text(answer: bytes) -> str:
    """A string, or (older tokens) a bytes32; printable characters only."""
    from eth_abi.abi import decode as decode_abi  # half of a start, and few starts see a token
    from eth_abi.exceptions import DecodingError

    try:
        (text,) = decode_abi(["string"], answer)
    except (DecodingError, OverflowError, UnicodeDecodeError):
        text = answer[:32].rstrip(b"\0").decode(errors="replace") if len(answer) == 32 else ""
    return "".join(c for c in text[:MAX_WORDS] if c.isprintable()).strip()
