"""Following a node also when it goes back below what it had called final, or contradicts itself.

*Ground* is a block the store can go back to, and begin again from.
"""

import asyncio
from collections.abc import Callable

from indexer.chain.errors import BadAnswer, BlockGone, ReorgTooDeep, RpcError
from indexer.chain.source import Source
from indexer.chain.steps import surviving
from indexer.domain.block import BlockRef
from indexer.domain.canon import Canon
from indexer.follow import Progress, Steps, follow
from indexer.mirror.fold import Mirror
from indexer.store.writer import Store

PATIENCE_S = 60.0
"""How long a node may keep us from the next commit by what it says."""
PAUSE_S = 1.0
"""Before what it says is heard again."""


async def follow_whatever_comes(
    store: Store,
    node: Source,
    source: Callable[[Canon, Mirror], Steps],
    progress: Progress,
    say: Callable[[str], None],
) -> None:
    """Follow a node, also when it goes back below what it had called final.

    Then the store goes back to the newest ground that the node still has, says so, and everything
    above is indexed anew. A node that is merely below our anchor may only be late: it is waited
    for, and nothing is taken back. ReorgTooDeep is raised where nothing of ours is left, for that
    is another chain.

    What contradicts itself may be a node in the middle of a reorg: the loop begins again at the
    last commit, and raises the error only if none follows for PATIENCE_S.
    """
    clock = asyncio.get_running_loop().time
    since: float | None = None
    words = ""

    def told(canon: Canon, blocks: int, events: int, node_head: int) -> None:
        nonlocal since
        since = None
        progress(canon, blocks, events, node_head)

    while True:
        before = words
        try:
            try:
                return await follow(store, source, told)
            except ReorgTooDeep as error:
                words = await _take_back(store, node, error)
                since = None
        except (BadAnswer, BlockGone, RpcError) as error:
            since = clock() if since is None else since
            if clock() - since >= PATIENCE_S:
                raise
            words = f"{error}; from the last commit on again"
            await asyncio.sleep(PAUSE_S)
        if words != before:
            say(words)


async def _take_back(store: Store, node: Source, error: ReorgTooDeep) -> str:
    """Go back to solid ground, or see that the node may only be late; what to say of it.

    Raises `error` where there is no ground.
    """
    head, anchor = error.head, error.anchor
    if await node.by_number(anchor.number) is None and not await _has_left(store, node, head):
        await asyncio.sleep(PAUSE_S)
        return f"the node is at {head}, below block {anchor.ref}, which was final: waiting for it"
    grounds = await store.grounds()
    if not grounds:
        return f"{head} does not descend from {anchor.ref}, which nobody was told of: begun again"
    ground = await surviving(node, grounds)
    if ground is None:
        raise error
    depth = await store.restart(ground)
    return (
        f"the chain went back below what was final: {head} does not descend from {anchor.ref}. "
        f"{depth:,} blocks are taken back, to {ground}, and indexed anew; the streams begin a new "
        "epoch"
    )


async def _has_left(store: Store, node: Source, head: BlockRef) -> bool:
    """Whether the node has another block at a height where we keep one, up to its head."""
    kept = await store.newest_block(head.number)
    theirs = None if kept is None else await node.by_number(kept.number)
    return theirs is not None and kept is not None and theirs.hash != kept.hash
