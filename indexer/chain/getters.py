"""Asking a node for contracts' state at one block, by the block's hash, many calls at a time."""

from collections.abc import Iterator, Sequence

from indexer.chain.errors import BadAnswer, NoState, RpcError
from indexer.chain.rpc import Rpc
from indexer.domain.block import Block
from indexer.domain.units import Address

CALLS_AT_ONCE = 100
"""Calls in one request."""

WORD_CHARS = 64

Getter = tuple[Address, str]
"""A contract, and the calldata that asks it."""


async def read_words(rpc: Rpc, calls: Sequence[Getter], block: Block) -> list[list[int]]:
    """What each (contract, calldata) answers at `block`, as words.

    Raises NoState where the node cannot tell: it has pruned the block's state, or left its branch.
    """
    found = []
    for some in _portions(calls):
        where = {"blockHash": block.hash}
        asked = [("eth_call", ({"to": to, "data": data}, where)) for to, data in some]
        try:
            answers = await rpc.batch(str, asked)
        except RpcError as error:
            raise NoState(block, error.message) from error
        found += [_words(answer) for answer in answers]
    return found


def _portions(
    calls: Sequence[Getter],
) -> Iterator[Sequence[Getter]]:
    for at in range(0, len(calls), CALLS_AT_ONCE):
        yield calls[at : at + CALLS_AT_ONCE]


def _words(answer: str) -> list[int]:
    digits = answer[2:]
    try:
        if not digits or len(digits) % WORD_CHARS:
            raise ValueError
        return [int(digits[at : at + WORD_CHARS], 16) for at in range(0, len(digits), WORD_CHARS)]
    except ValueError as error:
        raise BadAnswer("eth_call", "words of 32 bytes", answer[:80]) from error
