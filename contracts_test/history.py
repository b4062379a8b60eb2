"""The canonical blocks and where each transaction is in them.

Blocks deep below the head are packed: a devnet that trades for hours should not grow by what
nobody looks at. They are unpacked when somebody does.
"""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from contracts_test.engine import Block, Tx

HOT_BLOCKS = 128  # how many stay unpacked behind the head


@dataclass(frozen=True, slots=True)
class Packed:
    """A block as small as it gets; what is asked for often stays outside."""

    hash: bytes
    post_root: bytes
    tx_hashes: tuple[bytes, ...]
    packed: bytes


class History:
    """A list of blocks without gaps, block n at index n."""

    def __init__(self, genesis: Block, encode: Callable[[Tx], bytes]) -> None:
        self._encode = encode
        self._blocks: list[Block | Packed] = [genesis]
        self._by_hash: dict[bytes, int] = {genesis.hash: 0}
        self._txs: dict[bytes, tuple[int, int]] = {}

    @property
    def head(self) -> Block:
        """The newest block."""
        return self._open(len(self._blocks) - 1)

    def restore(self, blocks: Sequence[Packed]) -> None:
        """Takes the place of everything so far, genesis included."""
        self._blocks = list(blocks)
        self._by_hash = {block.hash: number for number, block in enumerate(blocks)}
        self._txs = {
            tx_hash: (number, index)
            for number, block in enumerate(blocks)
            for index, tx_hash in enumerate(block.tx_hashes)
        }
        for number in range(max(0, len(blocks) - HOT_BLOCKS), len(blocks)):
            self._blocks[number] = self._open(number)

    def push(self, block: Block) -> None:
        """Appends a child of the head."""
        assert block.parent_hash == self._blocks[-1].hash, "a block follows its parent"
        assert block.number == len(self._blocks), "numbers have no gaps"
        self._blocks.append(block)
        self._by_hash[block.hash] = block.number
        for index, tx in enumerate(block.txs):
            self._txs[tx.hash] = (block.number, index)
        if block.number > HOT_BLOCKS:
            deep = block.number - HOT_BLOCKS
            self._blocks[deep] = self.packed(deep)

    def pop(self) -> Block:
        """Takes the head off."""
        block = self.head
        self._blocks.pop()
        del self._by_hash[block.hash]
        for tx in block.txs:
            del self._txs[tx.hash]
        self._blocks[-1] = self.head  # unpacked: a head can be edited
        return block

    def at(self, number: int) -> Block | None:
        """The block of this number."""
        return self._open(number) if 0 <= number < len(self._blocks) else None

    def hash_at(self, number: int) -> bytes | None:
        """The hash of the block of this number."""
        return self._blocks[number].hash if 0 <= number < len(self._blocks) else None

    def hashes_from(self, number: int) -> list[bytes]:
        """The hashes of all blocks from this number on."""
        return [block.hash for block in self._blocks[number:]]

    def root_at(self, number: int) -> bytes | None:
        """The state after the block of this number."""
        return self._blocks[number].post_root if 0 <= number < len(self._blocks) else None

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

    def portable(self, tx: Tx) -> Tx:
        """A transaction for pickling: with its bytes in place of the engine's own object."""
        return replace(tx, native=self._encode(tx))

    def packed(self, number: int) -> Packed:
        """The block of this number, which there has to be."""
        block = self._blocks[number]
        if isinstance(block, Packed):
            return block
        txs = tuple(map(self.portable, block.txs))
        packed = zlib.compress(pickle.dumps(replace(block, txs=txs)), 1)
        return Packed(block.hash, block.post_root, tuple(tx.hash for tx in txs), packed)

    def _open(self, number: int) -> Block:
        block = self._blocks[number]
        if isinstance(block, Packed):
            found: Block = pickle.loads(zlib.decompress(block.packed))
            found.post_root = block.post_root  # `anvil_set*` may have changed it since
            return found
        return block
