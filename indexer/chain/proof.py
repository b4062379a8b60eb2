"""All logs of a block, proven by its bloom: what settles whether a node keeps some from us.

All logs together must explain every bit. (More than that is no lie: some chains add logs of their
own that no bloom counts.)
"""

import asyncio
from collections.abc import Sequence

import msgspec

from indexer.chain import bloom
from indexer.chain.answers import together
from indexer.chain.errors import BadAnswer, RpcError
from indexer.chain.headers import Header
from indexer.chain.receipts import Receipt, root_of
from indexer.chain.rpc import Rpc
from indexer.domain.block import Block
from indexer.domain.log import Log

LAG_PAUSES_S = (0.05, 0.1, 0.2, 0.4)
"""Pauses in which a node may find what it has announced, or come to be of one mind with itself."""


class _Logged(msgspec.Struct, frozen=True):
    """Of a receipt only its logs: what else a node says there may have any form."""

    logs: list[Log]


async def every_log(rpc: Rpc, block: Block, promised: int) -> list[Log] | None:
    """The block's logs; None where the node refuses to tell those of a whole block.

    Raises BadAnswer for a node that insists on fewer than its header promises.
    """
    missing = 0
    for pause_s in (*LAG_PAUSES_S, None):
        for ask in (_by_filter, _by_receipts):
            try:
                logs = together([await ask(rpc, block)])
            except RpcError:
                continue
            missing = bloom.unexplained(promised, logs)
            if not missing:
                return logs
        if pause_s is not None:
            await asyncio.sleep(pause_s)
    if not missing:
        return None
    raise BadAnswer(
        "eth_getLogs",
        f"logs that explain the bloom of block {block.ref}",
        f"{missing} bits that none of them sets: logs are missing",
    )


def says_same(one: Sequence[Log], other: Sequence[Log]) -> bool:
    """Whether two nodes tell the same logs, whatever their spelling."""
    return list(map(_words, one)) == list(map(_words, other))


def _words(log: Log) -> tuple[object, ...]:
    topics = [topic.lower() for topic in log.topics]
    return log.index, log.address.lower(), topics, log.data.lower()


async def proven(rpc: Rpc, block: Block) -> list[Log] | None:
    """The block's logs as its hash proves them: by its header, and the root of its receipts there.

    None where nothing is proven: the node tells no receipts, or the chain hashes more than we know.
    """
    header = await rpc.find(Header, "eth_getBlockByHash", block.hash, False)
    if header is None or header.hash != block.hash or not header.is_proven:
        return None
    try:
        receipts = await rpc.find(list[Receipt], "eth_getBlockReceipts", block.hash)
        if receipts is None or root_of(receipts) != header.receipts_root:
            return None
    except (RpcError, ValueError):
        return None
    logs = [log for receipt in receipts for log in receipt.logs]
    in_place = all(
        log.block_hash == block.hash and log.index == place for place, log in enumerate(logs)
    )
    return logs if in_place else None


async def _by_filter(rpc: Rpc, block: Block) -> list[Log]:
    logs = await rpc.call(list[Log], "eth_getLogs", {"blockHash": block.hash})
    return [log for log in logs if log.block_hash == block.hash]


async def _by_receipts(rpc: Rpc, block: Block) -> list[Log]:
    receipts = await rpc.find(list[_Logged], "eth_getBlockReceipts", block.hash)
    logs = [log for receipt in receipts or () for log in receipt.logs]
    return [log for log in logs if log.block_hash == block.hash]
