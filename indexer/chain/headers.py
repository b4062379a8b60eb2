"""Headers that one node has told, and whether they fit together.

A hash names one header and one height, and a child is one above its parent: a node that says
otherwise is not late but wrong, whatever branch it follows.
"""

import itertools
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated

import msgspec

from indexer.chain import bloom
from indexer.chain.errors import BadAnswer
from indexer.chain.header_hash import hash_of
from indexer.domain.block import Block
from indexer.domain.units import Hash

KEPT = 2_048
"""Headers remembered."""

Word = Annotated[str, msgspec.Meta(pattern="^0x[0-9a-f]{64}$")]
Number = Annotated[str, msgspec.Meta(pattern="^0x[0-9a-f]{1,15}$")]


class Header(msgspec.Struct, frozen=True, rename="camel"):
    """A block as eth_getBlockBy… writes it. Most is there to be hashed (chain/header_hash.py)."""

    number: Number
    hash: Word
    parent_hash: Word
    timestamp: Number
    logs_bloom: str = "0x"
    sha3_uncles: str | None = None
    miner: str | None = None
    state_root: str | None = None
    transactions_root: str | None = None
    receipts_root: str | None = None
    difficulty: str | None = None
    gas_limit: str | None = None
    gas_used: str | None = None
    extra_data: str | None = None
    mix_hash: str | None = None
    nonce: str | None = None
    base_fee_per_gas: str | None = None
    withdrawals_root: str | None = None
    blob_gas_used: str | None = None
    excess_blob_gas: str | None = None
    parent_beacon_block_root: str | None = None
    requests_hash: str | None = None

    @property
    def is_proven(self) -> bool:
        """Whether its fields hash to its hash."""
        return _is_proven(self)

    @property
    def block(self) -> Block:
        return Block(
            int(self.number, 16),
            Hash(self.hash),
            Hash(self.parent_hash),
            int(self.timestamp, 16),
        )


@lru_cache(maxsize=8)
def _is_proven(header: Header) -> bool:
    """Remembered, for an announcement is asked before it is learned."""
    return hash_of(msgspec.to_builtins(header)) == header.hash


class Headers:
    """The newest headers a node told of, by hash."""

    def __init__(self) -> None:
        self.has_blooms = False
        """This chain's headers do tell blooms: one was not empty."""
        self._are_proven = False
        """This node's headers do hash to their hashes: one did."""
        self._told: OrderedDict[Hash, tuple[Block, int | None]] = OrderedDict()
        self._heights: OrderedDict[Hash, int] = OrderedDict()
        """What a header's child says of its height."""

    def learn(self, method: str, header: Header) -> Block:
        """Remember a header. Raises BadAnswer where it contradicts itself, or what was told before.

        Headers of chains that hash more than we know are not judged; where one was proven, all
        others must be. So a fork of the chain costs a node one quarantine: it starts unproven.
        """
        block, told_bloom = header.block, bloom.parse(header.logs_bloom)
        if block.hash not in self._told:
            proven = header.is_proven
            if self._are_proven and not proven:
                raise BadAnswer(method, f"block {block.ref}", "fields of another hash")
            self._are_proven = proven
        before, bloom_before = self._told.get(block.hash, (block, told_bloom))
        if told_bloom is None:
            told_bloom = bloom_before  # some announcements leave it out
        if before != block or bloom_before not in (told_bloom, None):
            raise BadAnswer(method, f"block {block.ref} as before", "another header of that hash")
        height = self._heights.get(block.hash, block.number)
        if height != block.number:
            raise BadAnswer(
                method, f"block {block.hash[:10]}… at {height}, below its child", f"{block.number}"
            )
        parent = self._told.get(block.parent_hash)
        if parent is not None and parent[0].number != block.number - 1:
            raise BadAnswer(method, f"a child of {parent[0].ref} above it", f"{block.ref}")
        self._told[block.hash] = (block, told_bloom)
        self._heights[block.parent_hash] = block.number - 1
        self.has_blooms = self.has_blooms or bool(told_bloom)
        for kept in (self._told, self._heights):
            while len(kept) > KEPT:
                kept.popitem(last=False)
        return block

    def judges(self, header: Header) -> bool:
        """Whether `learn` would call a header false for what it leaves out, or for its hash."""
        return self._are_proven and header.hash not in self._told and not header.is_proven

    def has_told(self, hash_: Hash) -> bool:
        """Whether the node told the block itself, and not only a child of it."""
        return hash_ in self._told

    def bloom(self, hash_: Hash) -> int | None:
        """The bloom that counts for a block; None where there is none to go by."""
        _, told = self._told.get(hash_, (None, None))
        return told if self.has_blooms else None

    def height(self, hash_: Hash) -> int | None:
        """Where the node says that block is: it told the block, or a child of it."""
        told = self._told.get(hash_)
        return self._heights.get(hash_) if told is None else told[0].number

    def descends(self, block: Block, ancestor: Block) -> bool:
        """Whether `block` is known to come after `ancestor`, or to be it."""
        at: Block | None = block
        while at is not None and at.number > ancestor.number:
            at = self._told.get(at.parent_hash, (None, None))[0]
        return at is not None and at.hash == ancestor.hash


def unlinked(blocks: Sequence[Block]) -> tuple[Block, Block] | None:
    """The first two neighbours by height of which one is not the other's parent."""
    for parent, child in itertools.pairwise(blocks):
        if child.number == parent.number + 1 and child.parent_hash != parent.hash:
            return parent, child
    return None
