"""The canonical blocks and where each transaction is in them."""

from __future__ import annotations

from collections.abc import Iterator

from contracts_test.engine import Block


class History:
    """A list of blocks without gaps, block n at index n."""

    def __init__(self, genesis: Block) -> None:
        self._blocks: list[Block] = [genesis]
        self._by_hash: dict[bytes, int] = {genesis.hash: 0}
        self._txs: dict[bytes, tuple[int, int]] = {}

    @property
    def head(self) -> Block:
        """The newest block."""
        return self._blocks[-1]

    def push(self, block: Block) -> None:
        """Appends a child of the head."""
        assert block.parent_hash == self.head.hash, "a block follows its parent"
        assert block.number == len(self._blocks), "numbers have no gaps"
        self._blocks.append(block)
        self._by_hash[block.hash] = block.number
        for index, tx in enumerate(block.txs):
            self._txs[tx.hash] = (block.number, index)

    def pop(self) -> Block:
        """Takes the head off."""
        block = self._blocks.pop()
        del self._by_hash[block.hash]
        for tx in block.txs:
            del self._txs[tx.hash]
        return block

    def at(self, number: int) -> Block | None:
        """The block of this number."""
        return self._blocks[number] if 0 <= number < len(self._blocks) else None

    def by_hash(self, block_hash: bytes) -> Block | None:
        """The canonical block with this hash; retracted blocks are not found."""
        number = self._by_hash.get(block_hash)
        return None if number is None else self._blocks[number]

    def find_tx(self, tx_hash: bytes) -> tuple[Block, int] | None:
        """The block a transaction is in, and its index there."""
        place = self._txs.get(tx_hash)
        return None if place is None else (self._blocks[place[0]], place[1])

    def between(self, first: int, last: int) -> Iterator[Block]:
        """Blocks from `first` to `last`, both included."""
        return iter(self._blocks[max(first, 0) : last + 1])

    def newest(self, count: int) -> list[Block]:
        """The last `count` blocks."""
        return self._blocks[-count:]
