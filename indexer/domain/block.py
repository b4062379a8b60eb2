"""Blocks, and the two names by which things on a chain are known."""

from typing import Literal

import msgspec

from indexer.domain.units import Hash

Finality = Literal["latest", "safe", "finalized"]

Promotion = Literal["safe", "finalized"]
"""What a block becomes by and by. A safe one may still be retracted, if hardly ever."""


class BlockRef(msgspec.Struct, frozen=True, order=True, gc=False):
    """A block's identity: a number alone never identifies a block."""

    number: int
    hash: Hash

    def __str__(self) -> str:
        return f"{self.number} ({self.hash[:10]}…)"


class Block(msgspec.Struct, frozen=True, gc=False):
    """A header, as far as we need it. `timestamp` is in seconds."""

    number: int
    hash: Hash
    parent_hash: Hash
    timestamp: int

    @property
    def ref(self) -> BlockRef:
        return BlockRef(self.number, self.hash)


class Origin(msgspec.Struct, frozen=True, order=True):
    """Where a fact comes from. It orders all events of a chain, and names a trade."""

    block: BlockRef
    log_index: int
    tx: Hash
