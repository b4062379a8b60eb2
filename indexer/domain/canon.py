"""Canon: our hash-linked list of canonical blocks, from the finalized one to the head."""

from collections.abc import Iterable

from indexer.domain.block import Block, BlockRef
from indexer.domain.units import Hash


class Canon:
    """The blocks that a rollback could still reach, oldest first.

    The oldest is the anchor: the newest finalized block we know, which no rollback passes.
    A canon without blocks has not begun. Links between neighbours are asserted on every change,
    except across a backfill's gap (finalized blocks are not all stored).
    """

    def __init__(self, blocks: Iterable[Block] = ()) -> None:
        self._blocks: list[Block] = list(blocks)
        self._height: dict[Hash, int] = {b.hash: b.number for b in self._blocks}
        self._safe = self._blocks[0] if self._blocks else None
        for parent, child in zip(self._blocks, self._blocks[1:], strict=False):
            assert child.parent_hash == parent.hash, f"{child.ref} does not follow {parent.ref}"

    @property
    def head(self) -> Block | None:
        return self._blocks[-1] if self._blocks else None

    @property
    def anchor(self) -> Block | None:
        return self._blocks[0] if self._blocks else None

    @property
    def safe(self) -> Block | None:
        """The newest block that the node calls safe; the anchor, where it calls none so."""
        return self._safe

    def blocks(self) -> tuple[Block, ...]:
        """All of them, oldest first."""
        return tuple(self._blocks)

    def copy(self) -> "Canon":
        """Canon as it is now."""
        other = Canon(self._blocks)
        other._safe = self._safe
        return other

    def __len__(self) -> int:
        return len(self._blocks)

    def __contains__(self, hash_: Hash) -> bool:
        return hash_ in self._height

    def at(self, hash_: Hash) -> Block | None:
        """The canonical block of this hash, if we hold it."""
        number = self._height.get(hash_)
        return None if number is None else self._blocks[number - self._blocks[0].number]

    def advance(self, block: Block) -> None:
        """Append the child of our head."""
        head = self.head
        assert head is None or block.parent_hash == head.hash, f"{block.ref} is no child of {head}"
        self._blocks.append(block)
        self._safe = self._safe or block
        self._height[block.hash] = block.number

    def rollback(self, ancestor: BlockRef) -> None:
        """Drop every block above `ancestor`."""
        assert ancestor.hash in self, f"{ancestor} is not ours"
        while self._blocks[-1].hash != ancestor.hash:
            del self._height[self._blocks.pop().hash]
        if self._safe is not None and self._safe.hash not in self:
            self._safe = self._blocks[-1]

    def secure(self, block: BlockRef) -> None:
        """Take `block` as the newest safe one."""
        found = self.at(block.hash)
        assert found is not None, f"{block} is not ours"
        self._safe = found

    def finalize(self, block: BlockRef) -> None:
        """Make `block` the anchor and forget what is older."""
        assert block.hash in self, f"{block} is not ours"
        older = self._height[block.hash] - self._blocks[0].number
        for gone in self._blocks[:older]:
            del self._height[gone.hash]
        del self._blocks[:older]
        if self._safe is None or self._safe.number < block.number:
            self._safe = self._blocks[0]

    def restart(self, anchor: Block) -> None:
        """Begin anew at a finalized block: how backfill moves on without holding every header."""
        self._blocks = [anchor]
        self._height = {anchor.hash: anchor.number}
        self._safe = anchor
