"""What can happen to a chain. A reorg is a step as ordinary as a block."""

from collections.abc import Sequence

import msgspec

from indexer.domain.block import Block, BlockRef, Finality, Promotion
from indexer.domain.events import AnyEvent
from indexer.domain.log import Log
from indexer.domain.logs import Logs
from indexer.domain.market import Token


class Advance(msgspec.Struct, frozen=True):
    """The child of our head.

    `logs` are all that may concern us, and more if it was cheaper to ask; `tokens` what its new
    markets trade.
    A `finalized` one comes from a backfill: no rollback will reach it.
    """

    block: Block
    logs: tuple[Log, ...] | Logs = ()
    tokens: tuple[Token, ...] = ()
    finality: Finality = "latest"


class Read(msgspec.Struct, frozen=True):
    """A finalized block whose logs have been read: an Advance of which nothing is left but to fold.

    `row` is its row of `logs` as a COPY takes it (store/log_rows.py).
    """

    block: Block
    events: Sequence[AnyEvent]
    row: bytes
    tokens: tuple[Token, ...] = ()


class Rollback(msgspec.Struct, frozen=True):
    """Everything above `ancestor` is no more."""

    ancestor: Block


class Finalize(msgspec.Struct, frozen=True):
    """`block` and all before it have become final: no rollback goes below it any more.

    Or `safe` only, by the node's word: then a rollback still may.
    """

    block: BlockRef
    finality: Promotion = "finalized"


Step = Advance | Read | Rollback | Finalize
