"""What happens to the chain, as steps: from a node's heads to Advance, Rollback, Finalize.

The rules, each paid for once:

- parent hashes decide what is canonical; `removed: true` may never come (anvil does not send it);
- a head that is an ancestor of ours is a rollback with no advance;
- a block that is gone while its branch is read abandons the branch, keeps the steps already taken
  and waits for the next head;
- logs by hash at the head, by range only below *finalized*;
- nothing goes back below our anchor: that is ReorgTooDeep.
"""

from collections.abc import AsyncIterator, Iterable
from typing import Protocol

from indexer.chain.backfill import HEADERS_AT_ONCE, advances
from indexer.chain.errors import BadAnswer, BlockGone, ReorgTooDeep
from indexer.chain.log_cache import LogCache
from indexer.chain.source import Source, Watch
from indexer.chain.tokens import Tokens
from indexer.domain.block import Block, BlockRef
from indexer.domain.canon import Canon
from indexer.domain.deployment import Deployment
from indexer.domain.events import MarketCreated
from indexer.domain.step import Advance, Finalize, Read, Rollback, Step
from indexer.domain.units import Address, Hash

AHEAD_BLOCKS = 1_000
"""Of the past, from which on it is worth reading elsewhere."""
STEPS_AT_ONCE = 64
"""Advances that may share a transaction while we catch up with the head."""


async def surviving(node: Source, grounds: Iterable[BlockRef]) -> BlockRef | None:
    """The first of these that is still on the node's chain; None: it is another chain.

    Raises BadAnswer where that cannot be told, for the node does not have one of them yet, or now.
    """
    missing = None
    for ground in grounds:
        block = await node.by_number(ground.number)
        if block is None:
            missing = missing or ground
        elif block.hash == ground.hash:
            return ground
    if missing is not None:
        raise BadAnswer("eth_getBlockByNumber", f"block {missing.number}", "none")
    return None


class Ahead(Protocol):
    """Reads much of the past elsewhere (scout.py). May end early: we then read on."""

    def reads(
        self, start: Block, final: Block, markets: Iterable[Address]
    ) -> AsyncIterator[list[Read]]:
        """Finalized blocks with logs after `start` up to and with `final`, range by range."""

    async def close(self) -> None:
        """There is no more of the past."""


class Follower:
    """Turns one node's heads into batches of steps, and keeps canon to match.

    A batch is one transaction; an empty one ends what is below *finalized*. Canon has taken all of
    a batch's steps when it is yielded.
    """

    def __init__(
        self,
        node: Source,
        canon: Canon,
        deployment: Deployment,
        markets: Iterable[Address],
        cache: LogCache | None = None,
        ahead: Ahead | None = None,
    ) -> None:
        self.node_head = 0
        """The newest height the node has told of."""
        self._cache = cache
        self._ahead = ahead
        self._node = node
        self._canon = canon
        self._deployment = deployment
        self._watch = Watch(deployment, markets)
        self._tokens = Tokens(node, deployment)

    async def batches(self) -> AsyncIterator[list[Step]]:
        """Steps until the node fails for good. Raises the errors of chain/errors.py."""
        async for batch in self._catch_up():
            yield batch
        if self._ahead is not None:
            await self._ahead.close()
        yield []
        async for head in self._node.heads():
            self.node_head = head.number
            async for batch in self._toward(head):
                yield batch
            promotions = [step async for step in self._finality()]
            if promotions:
                yield promotions

    # -- below finalized --------------------------------------------------------------------------

    async def _catch_up(self) -> AsyncIterator[list[Step]]:
        head = await self._node.head()
        self.node_head = head.number
        if self._canon.head is None:
            first = await self._node.by_number(max(self._deployment.start_block - 1, 0))
            if first is None:
                raise BadAnswer(
                    "eth_getBlockByNumber",
                    f"block {self._deployment.start_block - 1} before start_block",
                    f"none; the node's head is {head.number}",
                )
            self._canon.advance(first)
            yield [Advance(first, finality="finalized")]
        assert self._canon.head is not None
        final = await self._node.finalized(head)
        if final is None or final.number <= self._canon.head.number:
            return
        below = await self._settle_below(final)
        if below:
            yield below
        if self._ahead is not None and final.number - self._canon.head.number >= AHEAD_BLOCKS:
            markets = self._watch.markets
            async for reads in self._ahead.reads(self._canon.head, final, markets):
                for read in reads:
                    self._canon.restart(read.block)
                    markets.update(e.market for e in read.events if isinstance(e, MarketCreated))
                yield list(reads)
        if self._canon.head.number < final.number:
            watch, tokens, start = self._watch, self._tokens, self._canon.head
            async for steps in advances(self._node, watch, tokens, start, final, self._cache):
                for step in steps:
                    self._canon.restart(step.block)
                yield list(steps)

    async def _settle_below(self, final: Block) -> list[Step]:
        """Settle what was not final when we stopped, now that `final` is above all of it."""
        ours = self._canon.blocks()
        theirs: set[Hash] = set()
        for at in range(0, len(ours), HEADERS_AT_ONCE):
            numbers = [block.number for block in ours[at : at + HEADERS_AT_ONCE]]
            theirs.update(block.hash for block in await self._node.by_numbers(numbers))
        kept = next((block for block in reversed(ours) if block.hash in theirs), None)
        if kept is None:
            anchor = await self._node.by_number(ours[0].number)
            if (
                anchor is None or anchor == ours[0]
            ):  # it knows less than it says, or did a moment ago
                raise BadAnswer(
                    "eth_getBlockByNumber", f"block {ours[0].number}, below {final.ref}", "none"
                )
            raise ReorgTooDeep(final.ref, ours[0])
        steps: list[Step] = []
        if kept != ours[-1]:
            self._canon.rollback(kept.ref)
            steps.append(Rollback(kept))
        if kept != ours[0]:
            steps.append(self._settle(kept))
        return steps

    # -- at the head ------------------------------------------------------------------------------

    async def _toward(self, head: Block) -> AsyncIterator[list[Step]]:
        """Steps from our head to the node's; fewer, if the branch goes away meanwhile."""
        self._tokens.forget()
        try:
            branch = await self._branch(head)
            steps: list[Step] = []
            ancestor = self._canon.at(branch[-1].parent_hash if branch else head.hash)
            assert ancestor is not None, "a branch grows from canon"
            if self._canon.head != ancestor:
                self._canon.rollback(ancestor.ref)
                steps.append(Rollback(ancestor))
            while branch:
                block = branch[-1]
                try:
                    logs = await self._node.logs_of(block, self._watch)
                    tokens = await self._tokens.of(block, logs)
                except BlockGone:
                    break
                branch.pop()
                self._canon.advance(block)
                steps.append(Advance(block, tuple(logs), tokens))
                if len(steps) >= STEPS_AT_ONCE:
                    yield steps
                    steps = []
            if steps:
                yield steps
        except BlockGone:
            return  # the next head tells which branch is alive

    async def _branch(self, head: Block) -> list[Block]:
        """The blocks between canon and `head`, newest first, each the parent of the one before."""
        anchor = self._canon.anchor
        assert anchor is not None
        known = await self._prefetch(head)
        branch: list[Block] = []
        block = head
        while block.hash not in self._canon:
            if block.number <= anchor.number:
                at = await self._node.by_number(anchor.number)
                if at == anchor:
                    raise BlockGone(head.hash)  # an old head: the node has not left our branch
                raise ReorgTooDeep(head.ref, anchor)
            branch.append(block)
            parent = known.get(block.parent_hash) or self._canon.at(block.parent_hash)
            parent = parent or await self._node.by_hash(block.parent_hash)
            if parent.number != block.number - 1:
                raise BadAnswer(
                    "eth_getBlockByHash", f"parent {block.number - 1}", f"{parent.number}"
                )
            block = parent
        return branch

    async def _prefetch(self, head: Block) -> dict[Hash, Block]:
        """Headers we will probably need, by hash: a long gap costs few requests."""
        ours = self._canon.head
        assert ours is not None
        numbers = range(ours.number + 1, head.number)
        known: dict[Hash, Block] = {}
        for at in range(0, len(numbers), HEADERS_AT_ONCE):
            blocks = await self._node.by_numbers(numbers[at : at + HEADERS_AT_ONCE])
            known.update((block.hash, block) for block in blocks)
        return known

    async def _finality(self) -> AsyncIterator[Step]:
        """What the node promises of blocks that are ours: never less than it did before."""
        canon = self._canon
        head, anchor = canon.head, canon.anchor
        assert head is not None
        assert anchor is not None
        final = await self._node.finalized(head)
        if final is not None and final.number > anchor.number and final.hash in canon:
            yield self._settle(final)
        newest, safe = await self._node.safe(head), canon.safe
        assert safe is not None
        if newest is not None and newest.number > safe.number and newest.hash in canon:
            canon.secure(newest.ref)
            yield Finalize(newest.ref, "safe")

    def _settle(self, final: Block) -> Step:
        self._canon.finalize(final.ref)
        return Finalize(final.ref)
