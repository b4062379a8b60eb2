"""Two nodes tell different logs of one block: who is right, as far as that can be proven."""

import contextlib
from collections.abc import Mapping

from indexer.chain.errors import BadAnswer, ChainError
from indexer.chain.proof import says_same
from indexer.chain.provider import Provider
from indexer.chain.source import Watch
from indexer.domain.block import Block
from indexer.domain.log import Log


async def judge(
    words: Mapping[Provider, list[Log]], block: Block, watch: Watch
) -> tuple[list[Log], dict[Provider, BadAnswer]]:
    """The logs to believe, and who is caught.

    The block's hash decides by the root of its receipts. Where no node proves that, nobody is
    caught and more is believed: to keep a log back is a commoner fault than to make one up.
    """
    for provider in words:
        proven = None
        if provider.node is not None:
            with contextlib.suppress(ChainError):
                proven = await provider.node.proven_logs(block, watch)
        if proven is None:
            continue
        what = f"the {len(proven)} logs that the receipts of block {block.ref} prove"
        return proven, {
            one: BadAnswer("eth_getLogs", what, f"{len(logs)}, or others")
            for one, logs in words.items()
            if not says_same(logs, proven)
        }
    return max(words.values(), key=len), {}
