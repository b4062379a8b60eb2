"""The root of a block's receipts: with a proven header it proves the block's logs, all of them.

A Merkle-Patricia tree whose keys are the receipts' places. Some chains hash more than these fields;
then the root is another, and nothing is proven.
"""

from collections.abc import Mapping, Sequence

import msgspec

from indexer.chain.header_hash import number_bytes, rlp_bytes, rlp_list
from indexer.chain.keccak import keccak
from indexer.domain.log import Log

_EMPTY = rlp_bytes(b"")
_Path = tuple[int, ...]


class Receipt(msgspec.Struct, frozen=True, rename="camel"):
    """What eth_getBlockReceipts says of a tx, as far as it is hashed."""

    logs: list[Log]
    type: str = "0x0"
    status: str | None = None
    root: str | None = None
    cumulative_gas_used: str = "0x0"
    logs_bloom: str = "0x"


def root_of(receipts: Sequence[Receipt]) -> str:
    """The root as a header has it, `0x…`. Raises ValueError for what is no hex."""
    leaves = {
        _nibbles(rlp_bytes(number_bytes(place))): _encoded(receipt)
        for place, receipt in enumerate(receipts)
    }
    return "0x" + keccak(_node(leaves) if leaves else _EMPTY).hex()


def _encoded(receipt: Receipt) -> bytes:
    outcome = (
        number_bytes(int(receipt.status, 16))
        if receipt.status is not None
        else bytes.fromhex((receipt.root or "0x")[2:])
    )
    fields = [
        rlp_bytes(outcome),
        rlp_bytes(number_bytes(int(receipt.cumulative_gas_used, 16))),
        rlp_bytes(bytes.fromhex(receipt.logs_bloom[2:])),
        rlp_list([_encoded_log(log) for log in receipt.logs]),
    ]
    return number_bytes(int(receipt.type, 16)) + rlp_list(fields)


def _encoded_log(log: Log) -> bytes:
    topics = [rlp_bytes(bytes.fromhex(topic[2:])) for topic in log.topics]
    address, data = bytes.fromhex(log.address[2:]), bytes.fromhex(log.data[2:])
    return rlp_list([rlp_bytes(address), rlp_list(topics), rlp_bytes(data)])


# -- the tree --------------------------------------------------------------------------------------


def _node(leaves: Mapping[_Path, bytes]) -> bytes:
    """A node over these leaves, whose paths begin here. No path is the beginning of another."""
    paths = sorted(leaves)
    if len(paths) == 1:
        return rlp_list([rlp_bytes(_packed(paths[0], leaf=True)), rlp_bytes(leaves[paths[0]])])
    first, last = paths[0], paths[-1]
    shared = next(at for at in range(len(first)) if first[at] != last[at])
    if shared:
        below = _node({path[shared:]: leaves[path] for path in paths})
        return rlp_list([rlp_bytes(_packed(first[:shared], leaf=False)), _link(below)])
    branches = []
    for nibble in range(16):
        under = {path[1:]: leaves[path] for path in paths if path[0] == nibble}
        branches.append(_link(_node(under)) if under else _EMPTY)
    return rlp_list([*branches, _EMPTY])


def _link(node: bytes) -> bytes:
    """How a node stands in the one above it: itself if it is short, else its hash."""
    return node if len(node) < 32 else rlp_bytes(keccak(node))


def _nibbles(key: bytes) -> _Path:
    return tuple(nibble for byte in key for nibble in (byte >> 4, byte & 15))


def _packed(path: _Path, *, leaf: bool) -> bytes:
    odd = len(path) % 2
    flag = 2 * leaf + odd
    whole = (flag, *path) if odd else (flag, 0, *path)
    return bytes(whole[at] << 4 | whole[at + 1] for at in range(0, len(whole), 2))
