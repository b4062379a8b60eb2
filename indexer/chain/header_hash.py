"""A header's hash from its fields: what a node says of a block is true of that hash, or is not.

Hashed is the RLP list of fields in the order below. A fork may append others, and some chains do:
whether a chain's headers can be proven so is for the caller to find out.
"""

from collections.abc import Iterator, Mapping, Sequence

from indexer.chain.keccak import keccak

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
        return "0x" + keccak(rlp_list(list(_fields(header)))).hex()
    except (KeyError, ValueError):
        return None


def _fields(header: Mapping[str, str | None]) -> Iterator[bytes]:
    for name in (*FIRST, *LATER):
        text = header.get(name)
        if text is None:
            if name in FIRST:
                raise KeyError(name)
            continue
        if not text.startswith("0x"):
            raise ValueError(text)
        is_number = name in _IS_NUMBER
        yield rlp_bytes(number_bytes(int(text, 16)) if is_number else bytes.fromhex(text[2:]))


def number_bytes(number: int) -> bytes:
    """A number as RLP writes it: without zeros in front."""
    return number.to_bytes((number.bit_length() + 7) // 8)


def rlp_bytes(data: bytes) -> bytes:
    """RLP of a string of bytes."""
    return data if len(data) == 1 and data[0] < 0x80 else _headed(data, 0x80)


def rlp_list(items: Sequence[bytes]) -> bytes:
    """RLP of a list whose items are RLP already."""
    return _headed(b"".join(items), 0xC0)


def _headed(data: bytes, kind: int) -> bytes:
    if len(data) < 56:
        return bytes([kind + len(data)]) + data
    length = number_bytes(len(data))
    return bytes([kind + 55 + len(length)]) + length + data
