"""Making a recording of a node's blocks: every log of each, ours or not."""

import itertools

import msgspec

from indexer.chain.errors import BadAnswer
from indexer.chain.node import Node
from indexer.chain.recording import RecordedBlock
from indexer.decode import created_tokens
from indexer.domain.deployment import Deployment, TokenWords

BLOCKS_AT_ONCE = 50


async def read_blocks(node: Node, first: int, last: int) -> list[RecordedBlock]:
    """Blocks `first` to `last`, linked by parent hash. Raises BadAnswer if the node has fewer."""
    blocks: list[RecordedBlock] = []
    for at in range(first, last + 1, BLOCKS_AT_ONCE):
        numbers = range(at, min(at + BLOCKS_AT_ONCE, last + 1))
        found = await node.whole_blocks(numbers)
        if len(found) != len(numbers):
            raise BadAnswer("eth_getBlockByNumber", f"blocks {at} to {numbers[-1]}", "fewer")
        blocks += found
    for parent, child in itertools.pairwise(blocks):
        if child.parent_hash != parent.hash:
            raise BadAnswer(
                "eth_getBlockByNumber",
                f"block {child.number} as a child of {parent.hash}",
                f"parent {child.parent_hash}: a reorg happened meanwhile; record again",
            )
    return blocks


async def read_header(node: Node, deployment: Deployment, blocks: list[RecordedBlock]) -> bytes:
    """A header line: the deployment, and what the tokens of the recorded markets say."""
    tokens = dict(deployment.tokens)
    for block in blocks:
        for address in created_tokens(block.logs, deployment):
            if address not in tokens:
                token = await node.token(address, block.block)
                tokens[address] = TokenWords(token.symbol, token.name, token.decimals)
    return msgspec.json.encode(msgspec.structs.replace(deployment, tokens=tokens))
