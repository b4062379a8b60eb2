"""What a node can do to us, sorted by who has to act.

ChainError
├─ Unreachable       no answer, or a busy one: ask again later
├─ RpcError          an answer that is an error: code and message are the node's
├─ BadAnswer         an answer that cannot be true: not JSON, wrong shape, contradictory
├─ BlockGone         the block was there and is not: leave this branch, wait for the next head
├─ NoState           the node has the block no more, or not its state: ask an archive node
├─ WrongNode         the node follows another chain: the operator's settings are wrong
└─ ReorgTooDeep      the chain went back below what was final
"""

from indexer.chain.urls import masked, without_secrets
from indexer.domain.block import Block, BlockRef
from indexer.domain.units import Hash


class ChainError(Exception):
    """Something between us and the chain."""


class Unreachable(ChainError):
    """`retry_after_s` is how long the node asked to be left alone, 0 if it did not."""

    def __init__(self, url: str, reason: str, retry_after_s: float = 0) -> None:
        super().__init__(f"no usable answer from {masked(url)}: {without_secrets(reason, url)}")
        self.retry_after_s = retry_after_s


class RpcError(ChainError):
    """`data` is the JSON that came with the message; some providers say there what they mean."""

    def __init__(self, method: str, code: int, message: str, data: str = "") -> None:
        super().__init__(f"{method}: the node says {code} {message}")
        self.code = code
        self.message = message
        self.data = data


class BadAnswer(ChainError):
    def __init__(self, method: str, expected: str, found: str) -> None:
        super().__init__(f"{method}: expected {expected}, found {found}")


class BlockGone(ChainError):
    def __init__(self, block: Hash) -> None:
        super().__init__(f"block {block} is gone: the node has left its branch")


class WrongNode(ChainError):
    def __init__(self, url: str, found: int, expected: int) -> None:
        super().__init__(
            f"--rpc (TIDEBOOK_RPC_URLS): {masked(url)} follows chain {found}, the deployment says "
            f"chain_id {expected}"
        )


class ReorgTooDeep(ChainError):
    def __init__(self, head: BlockRef, anchor: Block) -> None:
        self.head = head
        self.anchor = anchor
        super().__init__(
            f"the node's head {head} does not descend from block {anchor.ref}, which was final: "
            "the chain was reset, or this is another one; index it into an empty database"
        )


class NoState(ChainError):
    def __init__(self, block: Block, reason: str) -> None:
        super().__init__(
            f"the node has no state at block {block.number} ({block.hash}): {reason}; "
            "an archive node keeps it"
        )
