"""The three things that can happen to a chain. A reorg is a step as ordinary as a block."""

import msgspec

from indexer.domain.block import Block, BlockRef, Finality
from indexer.domain.log import Log
from indexer.domain.market import Token


class Advance(msgspec.Struct, frozen=True):
    """The child of our head. `logs` are all that may concern us, and more if it was cheaper to ask;
    `tokens` what its new markets trade.

    A `finalized` one comes from a backfill: no rollback will reach it.
    """

    block: Block
    logs: tuple[Log, ...] = ()
    tokens: tuple[Token, ...] = ()
    finality: Finality = "latest"


class Rollback(msgspec.Struct, frozen=True):
    """Everything above `ancestor` is no more."""

    ancestor: Block


class Finalize(msgspec.Struct, frozen=True):
    """No rollback will go below `block` any more."""

    block: BlockRef


Step = Advance | Rollback | Finalize
