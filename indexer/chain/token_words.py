"""What a token says of itself."""

from eth_abi.abi import decode as decode_abi
from eth_abi.exceptions import DecodingError

from indexer.chain.errors import RpcError
from indexer.chain.rpc import Rpc
from indexer.domain.block import Block
from indexer.domain.market import Token
from indexer.domain.units import Address

MAX_WORDS = 64
"""Characters kept of a token's symbol or name."""


async def token(rpc: Rpc, address: Address, at: Block) -> Token:
    """Symbol, name and decimals at a block.

    Anybody can create a market of anything, so nothing here is fatal: a token that will not say
    its symbol is called by its address, one without decimals counts as having 18.
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


async def _word(rpc: Rpc, address: Address, selector: str, at: Block) -> bytes:
    call = {"to": address, "data": selector}
    for block in ({"blockHash": at.hash}, "latest"):  # a pruned node knows only now
        try:
            answer = await rpc.call(str, "eth_call", call, block)
            return bytes.fromhex(answer[2:])
        except (RpcError, ValueError):
            continue
    return b""


def _text(answer: bytes) -> str:
    """A string, or (older tokens) a bytes32; printable characters only."""
    try:
        (text,) = decode_abi(["string"], answer)
    except (DecodingError, OverflowError, UnicodeDecodeError):
        text = answer[:32].rstrip(b"\0").decode(errors="replace") if len(answer) == 32 else ""
    return "".join(c for c in text[:MAX_WORDS] if c.isprintable()).strip()
