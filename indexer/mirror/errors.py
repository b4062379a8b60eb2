"""When events cannot be folded.

FoldError          stops the writer, names the block and the log
└─ (made from)     Impossible: what a contract of this protocol cannot have done
"""

from indexer.domain.block import Block
from indexer.domain.events import Event


class Impossible(Exception):
    """The events contradict the state. Raised deep inside, without knowing where we are."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(found)
        self.found = found
        self.expected = expected


class FoldError(Exception):
    """A block that cannot be folded: incomplete history, or contracts that are not this protocol's.

    Nothing of the block is kept.
    """

    def __init__(self, block: Block, event: Event, cause: Impossible) -> None:
        super().__init__(
            f"block {block.number} ({block.hash}), log {event.log_index}, {type(event).__name__}: "
            f"expected {cause.expected}, found: {cause.found}. Either the history before it is "
            "incomplete (does start_block lie before the contracts' creation?) or the contract "
            "behind this address has changed."
        )
        self.block = block
        self.log_index = event.log_index
        self.expected = cause.expected
        self.found = cause.found
