"""Several nodes as one source: one is followed, the others stand by, and none is believed blindly.

The leader (chain/roster.py) tells the heads. What is asked by block hash means the same to every
node, so whoever is well may answer it, and the steps toward one head never mix branches. The
process ends when nobody has been usable for NONE_LEFT_S.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from random import Random
from typing import TypeVar

from indexer.chain.errors import BadAnswer, BlockGone, ChainError, NoState, RpcError, Unreachable
from indexer.chain.getters import Getter, read_words
from indexer.chain.judge import judge
from indexer.chain.node import Connect, Node
from indexer.chain.proof import says_same
from indexer.chain.provider import Provider
from indexer.chain.recording import RecordedBlock
from indexer.chain.roster import NONE_LEFT_S, Roster
from indexer.chain.rpc import Patience, connect
from indexer.chain.source import Watch
from indexer.domain.block import Block
from indexer.domain.deployment import Deployment
from indexer.domain.log import Log
from indexer.domain.logs import Logs
from indexer.domain.market import Token
from indexer.domain.units import Address, Hash

T = TypeVar("T")

CHECK_S = 1.0
"""Pause between looks whether another should lead, while the leader has nothing new."""
HELD_BACK_S = 10.0
"""How long a new leader may be behind what was told already before it is believed."""
IMPATIENT = Patience(attempts=3, request_s=10.0, give_up_s=20.0)
"""With others to ask, nobody is waited for long."""
SECOND_OPINION_S = 0.5
"""How long another provider's word on a block's logs is waited for, once the leader's is there."""


class Providers:
    """The `Source` over all of a chain's providers."""

    def __init__(self, roster: Roster) -> None:
        self.roster = roster
        self._final: Block | None = None

    @classmethod
    async def open(
        cls,
        urls: Sequence[str],
        deployment: Deployment,
        confirmations: int = 64,
        *,
        connect: Connect = connect,
        random: Random | None = None,
        tell: Callable[[str], None] = lambda line: None,
        none_left_s: float = NONE_LEFT_S,
    ) -> "Providers":
        """Connect to all; one that answers and follows the chain is enough to begin.

        Raises WrongNode or Unreachable, the first provider's, if there is none. `none_left_s` is
        how long all may be unusable later on.
        """
        random = random or Random()

        def connected(provider: Provider) -> Awaitable[Node]:
            return Node.open(
                provider.url,
                deployment,
                confirmations,
                connect=connect,
                patience=IMPATIENT if len(urls) > 1 else None,
                random=random,
                ranges=provider.ranges,
            )

        roster = Roster(urls, connected, random, tell, none_left_s)
        await roster.open()
        return cls(roster)

    async def close(self) -> None:
        await self.roster.close()

    # -- Source -----------------------------------------------------------------------------------

    async def heads(self) -> AsyncIterator[Block]:
        told: Block | None = None
        teller: Provider | None = None
        self._final = None  # whoever follows anew may have learned that it was not
        while True:
            leader = await self.roster.lead()
            try:
                await self._check_final(leader)
                async with contextlib.aclosing(self._heads_of(leader, told, teller)) as heads:
                    async for head in heads:
                        told, teller = head, leader
                        yield head
            except (Unreachable, BadAnswer) as error:
                self.roster.fault(leader, error)
            except RpcError as error:  # a node that will not tell its head is none
                self.roster.fault(leader, Unreachable(leader.url, str(error)))

    async def head(self) -> Block:
        return await self._ask(Node.head)

    async def finalized(self, head: Block) -> Block | None:
        final = await self._ask(lambda node: node.finalized(head))
        if final is not None and (self._final is None or final.number > self._final.number):
            self._final = final
        return final

    async def safe(self, head: Block) -> Block | None:
        return await self._ask(lambda node: node.safe(head))

    async def by_number(self, number: int) -> Block | None:
        return await self._ask(lambda node: node.by_number(number))

    async def by_numbers(self, numbers: Sequence[int]) -> list[Block]:
        return await self._ask(lambda node: node.by_numbers(numbers))

    async def by_hash(self, hash_: Hash) -> Block:
        return await self._ask(lambda node: node.by_hash(hash_))

    async def logs_of(self, block: Block, watch: Watch) -> list[Log]:
        """The leader's word, held against another's, if there is one and it is not late."""
        leader = await self.roster.lead()
        witness = self.roster.elect({leader})
        if witness is None:
            return await self._ask(lambda node: node.logs_of(block, watch))
        second = asyncio.create_task(self._second_opinion(witness, block, watch))
        try:
            told, teller = await self._ask_whom(lambda node: node.logs_of(block, watch))
            await asyncio.wait({second}, timeout=SECOND_OPINION_S)
            other = second.result() if second.done() else None
        finally:
            second.cancel()
            await asyncio.gather(second, return_exceptions=True)
        if other is None or teller is witness or says_same(told, other):
            return told
        return await self._believed({teller: told, witness: other}, block, watch)

    async def blocks_between(self, first: int, last: int, watch: Watch) -> list[Logs]:
        return await self._ask(lambda node: node.blocks_between(first, last, watch))

    async def token(self, address: Address, at: Block) -> Token:
        return await self._ask(lambda node: node.token(address, at))

    # -- for others than the steps -----------------------------------------------------------------

    async def whole_blocks(self, numbers: Sequence[int]) -> list[RecordedBlock]:
        return await self._ask(lambda node: node.whole_blocks(numbers))

    async def read_words(self, calls: Sequence[Getter], block: Block) -> list[list[int]]:
        """What contracts' getters answer at a block. Raises NoState if no node can tell."""
        return await self._ask(lambda node: read_words(node.rpc, calls, block))

    # -- two witnesses ----------------------------------------------------------------------------

    async def _second_opinion(
        self, witness: Provider, block: Block, watch: Watch
    ) -> list[Log] | None:
        try:
            return await witness.connection.logs_of(block, watch)
        except BlockGone:
            return None  # it may not have seen the block yet
        except (BadAnswer, Unreachable, RpcError) as error:
            self.roster.fault(witness, error)
            return None

    async def _believed(
        self, words: dict[Provider, list[Log]], block: Block, watch: Watch
    ) -> list[Log]:
        logs, caught = await judge(words, block, watch)
        for provider, error in caught.items():
            self.roster.fault(provider, error)
        for provider in () if caught else words:
            provider.health.faults["disagrees"] += 1
            if provider.health.faults["disagrees"] == 1:
                self.roster.say(provider, f"and another tell different logs of block {block.ref}")
        return logs

    # -- asking -----------------------------------------------------------------------------------

    async def _ask(self, question: Callable[[Node], Awaitable[T]]) -> T:
        answer, _ = await self._ask_whom(question)
        return answer

    async def _ask_whom(self, question: Callable[[Node], Awaitable[T]]) -> tuple[T, Provider]:
        """The leader's answer, or that of the next best who has one; and whose it is.

        The leader's BlockGone stands: it has left the branch that is being read. Another's may
        mean that it has not seen the block yet.
        """
        clock = asyncio.get_running_loop().time
        asked: set[Provider] = set()
        final_word: ChainError | None = None
        while True:
            provider = self.roster.elect(asked)
            if provider is None:
                if final_word is not None:
                    raise final_word
                await self.roster.lead()
                asked.clear()
                continue
            asked.add(provider)
            began = clock()
            try:
                answer = await question(provider.connection)
            except BlockGone as error:
                if provider is self.roster.leader:
                    raise
                final_word = error
            except NoState as error:  # another may have kept more
                final_word = final_word or error
            except RpcError as error:
                self.roster.fault(provider, error)
                final_word = final_word or error
            except (BadAnswer, Unreachable) as error:
                self.roster.fault(provider, error)
            else:
                self.roster.answered(provider, clock() - began)
                return answer, provider

    # -- heads ------------------------------------------------------------------------------------

    async def _heads_of(
        self, leader: Provider, told: Block | None, teller: Provider | None
    ) -> AsyncGenerator[Block, None]:
        """The leader's heads while it leads; lower ones than somebody else told wait a little."""
        clock = asyncio.get_running_loop().time
        heads, held, since = leader.connection.heads(), None, clock()
        coming: asyncio.Task[Block] | None = None
        try:
            while leader.usable and self.roster.elect() is leader:
                coming = coming or asyncio.create_task(_next(heads))
                await asyncio.wait({coming}, timeout=CHECK_S)
                if coming.done():
                    held, coming = coming.result(), None
                    leader.health.saw(held.number)
                    self.roster.answered(leader, 0)
                late = told is not None and held is not None and held.number < told.number
                if late and teller is not leader and clock() - since < HELD_BACK_S:
                    continue
                if held is not None:
                    told, teller, head, held = held, leader, held, None
                    yield head
        finally:
            if coming is not None:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)

    async def _check_final(self, leader: Provider) -> None:
        """Raise BadAnswer for a leader that has another block where ours is final."""
        if len(self.roster.providers) == 1 or self._final is None:
            return
        theirs = await leader.connection.by_number(self._final.number)
        if theirs is None:
            raise Unreachable(leader.url, f"it has not reached block {self._final.ref}")
        if theirs.hash != self._final.hash:
            raise BadAnswer("eth_getBlockByNumber", f"final {self._final.ref}", f"{theirs.ref}")


async def _next(heads: AsyncGenerator[Block, None]) -> Block:
    return await heads.__anext__()
