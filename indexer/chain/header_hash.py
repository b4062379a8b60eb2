"""A header's hash from its fields: what a node says of a block is true of that hash, or is not.

Hashed is the RLP list of fields in the order below. A fork may append others, and some chains do:
whether a chain's headers can be proven so is for the caller to find out.
"""

from collections.abc import Iterator, Mapping

from eth_hash.auto import keccak

_BYTES = "parentHash sha3Uncles miner stateRoot transactionsRoot receiptsRoot logsBloom"
_NUMBERS = "difficulty number gasLimit gasUsed timestamp"
FIRST = (*_BYTES.split(), *_NUMBERS.split(), "extraData", "mixHash", "nonce")
"""Fields that every header has."""
LATER = (
    *("baseFeePerGas", "withdrawalsRoot", "blobGasUsed", "excessBlobGas"),
    *("parentBeaconBlockRoot", "requestsHash"),
)
"""Fields that forks have appended, in this order."""
_IS_NUMBER = {*_NUMBERS.split(), "baseFeePerGas", "blobGasUsed", "excessBlobGas"}


def hash_of(header: Mapping[str, str | None]) -> str | None:
    """The hash, `0x…`; None where a field that every header has is missing or no hex."""
    try:
        payload = b"".join(_fields(header))
    except (KeyError, ValueError):
        return None
    return "0x" + keccak(_headed(payload, 0xC0)).hex()


def _fields(header: Mapping[str, str | None]) -> Iterator[bytes]:
    for name in (*FIRST, *LATER):
        text = header.get(name)
        if text is None:
            if name in FIRST:
                raise KeyError(name)
            continue
        if not text.startswith("0x"):
            raise ValueError(text)
        digits = text[2:].lstrip("0") if name in _IS_NUMBER else text[2:]
        data = bytes.fromhex("0" * (len(digits) % 2) + digits)
        yield data if len(data) == 1 and data[0] < 0x80 else _headed(data, 0x80)


def _headed(data: bytes, kind: int) -> bytes:
    """RLP: a payload behind its length. `kind` is 0x80 for bytes, 0xC0 for a list."""
    if len(data) < 56:
        return bytes([kind + len(data)]) + data
    length = len(data).to_bytes((len(data).bit_length() + 7) // 8)
    return bytes([kind + 55 + len(length)]) + length + data
