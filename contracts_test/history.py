"""The canonical blocks and where each transaction is in them.

Blocks deep below the head are packed: a devnet that trades for hours should not grow by what
nobody looks at. They are unpacked when somebody does.
"""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from contracts_test.engine import Block, Tx

HOT_BLOCKS = 128  # how many stay unpacked behind the head


@dataclass(frozen=True, slots=True)
class _Packed:
    hash: bytes
    post_root: bytes
    packed: bytes


class History:
    """A list of blocks without gaps, block n at index n."""

    def __init__(self, genesis: Block, encode: Callable[[Tx], bytes]) -> None:
        self._encode = encode
        self._blocks: list[Block | _Packed] = [genesis]
        self._by_hash: dict[bytes, int] = {genesis.hash: 0}
        self._txs: dict[bytes, tuple[int, int]] = {}

    @property
    def head(self) -> Block:
        """The newest block."""
        return self._open(len(self._blocks) - 1)

    def push(self, block: Block) -> None:
        """Appends a child of the head."""
        assert block.parent_hash == self._blocks[-1].hash, "a block follows its parent"
        assert block.number == len(self._blocks), "numbers have no gaps"
        self._blocks.append(block)
        self._by_hash[block.hash] = block.number
        for index, tx in enumerate(block.txs):
            self._txs[tx.hash] = (block.number, index)
        if block.number > HOT_BLOCKS:
            self._pack(block.number - HOT_BLOCKS)

    def pop(self) -> Block:
        """Takes the head off."""
        block = self.head
        self._blocks.pop()
        del self._by_hash[block.hash]
        for tx in block.txs:
            del self._txs[tx.hash]
        return block

    def at(self, number: int) -> Block | None:
        """The block of this number."""
        return self._open(number) if 0 <= number < len(self._blocks) else None

    def hash_at(self, number: int) -> bytes | None:
        """The hash of the block of this number."""
        return self._blocks[number].hash if 0 <= number < len(self._blocks) else None

    def by_hash(self, block_hash: bytes) -> Block | None:
        """The canonical block with this hash; retracted blocks are not found."""
        number = self._by_hash.get(block_hash)
        return None if number is None else self._open(number)

    def find_tx(self, tx_hash: bytes) -> tuple[Block, int] | None:
        """The block a transaction is in, and its index there."""
        place = self._txs.get(tx_hash)
        return None if place is None else (self._open(place[0]), place[1])

    def between(self, first: int, last: int) -> Iterator[Block]:
        """Blocks from `first` to `last`, both included, as far as there are any."""
        for number in range(max(first, 0), min(last + 1, len(self._blocks))):
            yield self._open(number)

    def newest(self, count: int) -> list[Block]:
        """The last `count` blocks."""
        return list(self.between(len(self._blocks) - count, len(self._blocks)))

    def newest_roots(self, count: int) -> list[bytes]:
        """The states after the last `count` blocks."""
        return [block.post_root for block in self._blocks[-count:]]

    def _pack(self, number: int) -> None:
        block = self._blocks[number]
        if isinstance(block, _Packed):
            return
        # The engine's own objects are not for pickling; their bytes are, and it knows those too.
        txs = tuple(replace(tx, native=self._encode(tx)) for tx in block.txs)
        packed = zlib.compress(pickle.dumps(replace(block, txs=txs)), 1)
        self._blocks[number] = _Packed(block.hash, block.post_root, packed)

    def _open(self, number: int) -> Block:
        block = self._blocks[number]
        if isinstance(block, _Packed):
            found: Block = pickle.loads(zlib.decompress(block.packed))
            return found
        return block
