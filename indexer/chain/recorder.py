"""Making a recording of a node's blocks: every log of each, ours or not."""

from collections.abc import AsyncIterator

import msgspec

from indexer.chain.errors import BadAnswer
from indexer.chain.providers import Providers
from indexer.chain.recording import BadBlock, RecordedBlock, check
from indexer.decode import created_tokens
from indexer.domain.deployment import Deployment, TokenWords

BLOCKS_AT_ONCE = 50


async def read_blocks(node: Providers, first: int, last: int) -> AsyncIterator[list[RecordedBlock]]:
    """Blocks `first` to `last`, some at a time, linked by parent hash. Raises BadAnswer."""
    parent: RecordedBlock | None = None
    for at in range(first, last + 1, BLOCKS_AT_ONCE):
        numbers = range(at, min(at + BLOCKS_AT_ONCE, last + 1))
        found = await node.whole_blocks(numbers)
        if len(found) != len(numbers):
            raise BadAnswer("eth_getBlockByNumber", f"blocks {at} to {numbers[-1]}", "fewer")
        blocks = []
        for child in found:
            if parent is not None and child.parent_hash != parent.hash:
                raise BadAnswer(
                    "eth_getBlockByNumber",
                    f"block {child.number} as a child of {parent.hash}",
                    f"parent {child.parent_hash}: a reorg happened meanwhile; record again",
                )
            try:
                blocks.append(check(child))
            except BadBlock as error:
                raise BadAnswer(
                    "eth_getLogs", f"the logs of block {child.number}", f"{error}"
                ) from error
            parent = child
        yield blocks


async def with_tokens(
    node: Providers, deployment: Deployment, blocks: list[RecordedBlock]
) -> Deployment:
    """The deployment, and what the tokens of the markets that `blocks` create say."""
    tokens = dict(deployment.tokens)
    for block in blocks:
        for address in created_tokens(block.logs, deployment):
            if address not in tokens:
                token = await node.token(address, block.block)
                tokens[address] = TokenWords(token.symbol, token.name, token.decimals)
    return msgspec.structs.replace(deployment, tokens=tokens)
