"""Several nodes as one source: one is followed, the others stand by, and none is believed blindly.

The *leader* tells the heads; it stays the leader until it fails, lies or falls clearly behind.
What is asked by block hash means the same to every node, so whoever is well may answer it, and the
steps toward one head never mix branches. A provider caught in a lie is quarantined, one that does
not answer is tried again later, one of another chain is left out. The process ends when nobody has
been usable for NONE_LEFT_S.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from random import Random
from typing import TypeVar

from indexer.chain.backfill import Found
from indexer.chain.errors import (
    BadAnswer,
    BlockGone,
    ChainError,
    NoState,
    RpcError,
    Unreachable,
    WrongNode,
)
from indexer.chain.getters import Getter, read_words
from indexer.chain.health import Report
from indexer.chain.judge import judge
from indexer.chain.node import Connect, Node
from indexer.chain.proof import says_same
from indexer.chain.provider import Provider, shown
from indexer.chain.recording import RecordedBlock
from indexer.chain.rpc import Patience, connect
from indexer.chain.source import Watch
from indexer.domain.block import Block
from indexer.domain.deployment import Deployment
from indexer.domain.log import Log
from indexer.domain.market import Token
from indexer.domain.units import Address, Hash

T = TypeVar("T")

NONE_LEFT_S = 60.0
"""How long all providers may be unusable before the process ends."""
STANDBY_POLL_S = 5.0
"""Pause between looks at the head of a provider that is not the leader."""
CHECK_S = 1.0
"""Pause between looks whether another should lead, while the leader has nothing new."""
LEAD_MARGIN = 20.0
"""By how many points another must be better to take the lead."""
HELD_BACK_S = 10.0
"""How long a new leader may be behind what was told already before it is believed."""
MAX_AHEAD_BLOCKS = 1_000
"""A head further ahead of all others than this makes nobody look late."""
IMPATIENT = Patience(attempts=3, request_s=10.0, give_up_s=20.0)
"""With others to ask, nobody is waited for long."""
SECOND_OPINION_S = 0.5
"""How long another provider's word on a block's logs is waited for, once the leader's is there."""
REPORT_S = 3.0
"""Pause between reports, unless somebody's state changes."""
SIGN_S = 10.0
"""Longest pause between reports, though there is no news."""


class Providers:
    """The `Source` over all of a chain's providers."""

    def __init__(
        self,
        urls: Sequence[str],
        deployment: Deployment,
        confirmations: int = 64,
        *,
        connect: Connect = connect,
        random: Random | None = None,
        tell: Callable[[str], None] = lambda line: None,
        none_left_s: float = NONE_LEFT_S,
    ) -> None:
        self._all = [Provider(url, name) for url, name in zip(urls, shown(urls), strict=True)]
        self._deployment = deployment
        self._confirmations = confirmations
        self._connect = connect
        self._random = random or Random()
        self._tell: Callable[[str], None] = lambda line: None
        self._tell_later = tell
        self._none_left_s = none_left_s
        self._leader: Provider | None = None
        self._final: Block | None = None
        self._last_error: ChainError | None = None
        self._none_since: float | None = None
        self._changed = asyncio.Event()
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

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
        providers = cls(
            urls,
            deployment,
            confirmations,
            connect=connect,
            random=random,
            tell=tell,
            none_left_s=none_left_s,
        )
        errors = await asyncio.gather(*map(providers._revive, providers._all))
        if not any(provider.usable for provider in providers._all):
            await providers.close()
            raise next(error for error in errors if error is not None)
        providers._tell = providers._tell_later
        for provider in providers._all:
            if not provider.usable:
                providers._say(
                    provider, f"is {provider.health.state}: {provider.health.last_fault}"
                )
        providers._tasks = [
            asyncio.create_task(providers._tend(provider)) for provider in providers._all
        ]
        return providers

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for provider in self._all:
            await self._part(provider)

    # -- what is seen of them ---------------------------------------------------------------------

    def report(self) -> list[Report]:
        """Every provider's state, in the order of the settings."""
        best = self._best_head()
        return [provider.report(best) for provider in self._all]

    async def reports(self) -> AsyncIterator[list[Report]]:
        """The report, whenever a state changes, every few seconds if anything did, and now and
        then all the same: a sign of life."""
        told: list[Report] | None = None
        told_at = 0.0
        while True:
            self._news.clear()
            report = self.report()
            if report != told or self._now() - told_at >= SIGN_S:
                told, told_at = report, self._now()
                yield report
            await _wait(self._news, REPORT_S)

    # -- Source -----------------------------------------------------------------------------------

    async def heads(self) -> AsyncIterator[Block]:
        told: Block | None = None
        teller: Provider | None = None
        self._final = None  # whoever follows anew may have learned that it was not
        while True:
            leader = await self._lead()
            try:
                await self._check_final(leader)
                async with contextlib.aclosing(self._heads_of(leader, told, teller)) as heads:
                    async for head in heads:
                        told, teller = head, leader
                        yield head
            except (Unreachable, BadAnswer) as error:
                self._fault(leader, error)
            except RpcError as error:  # a node that will not tell its head is none
                self._fault(leader, Unreachable(leader.url, str(error)))

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
        leader = await self._lead()
        witness = self._elect({leader})
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

    async def blocks_between(self, first: int, last: int, watch: Watch) -> Found:
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
        assert witness.node is not None, "usable without a node"
        try:
            return await witness.node.logs_of(block, watch)
        except BlockGone:
            return None  # it may not have seen the block yet
        except (BadAnswer, Unreachable, RpcError) as error:
            self._fault(witness, error)
            return None

    async def _believed(
        self, words: dict[Provider, list[Log]], block: Block, watch: Watch
    ) -> list[Log]:
        logs, caught = await judge(words, block, watch)
        for provider, error in caught.items():
            self._fault(provider, error)
        for provider in () if caught else words:
            provider.health.faults["disagrees"] += 1
            if provider.health.faults["disagrees"] == 1:
                self._say(provider, f"and another tell different logs of block {block.ref}")
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
        asked: set[Provider] = set()
        final_word: ChainError | None = None
        while True:
            provider = self._elect(asked)
            if provider is None:
                if final_word is not None:
                    raise final_word
                await self._lead()
                asked.clear()
                continue
            asked.add(provider)
            assert provider.node is not None, "usable without a node"
            began = self._now()
            try:
                answer = await question(provider.node)
            except BlockGone as error:
                if provider is self._leader:
                    raise
                final_word = error
            except NoState as error:  # another may have kept more
                final_word = final_word or error
            except RpcError as error:
                self._fault(provider, error)
                final_word = final_word or error
            except (BadAnswer, Unreachable) as error:
                self._fault(provider, error)
            else:
                provider.health.answered(self._now() - began)
                self._none_since = None
                return answer, provider

    async def _heads_of(
        self, leader: Provider, told: Block | None, teller: Provider | None
    ) -> AsyncGenerator[Block, None]:
        """The leader's heads while it leads; lower ones than somebody else told wait a little."""
        assert leader.node is not None, "usable without a node"
        heads, held, since = leader.node.heads(), None, self._now()
        coming: asyncio.Task[Block] | None = None
        try:
            while leader.usable and self._elect() is leader:
                coming = coming or asyncio.create_task(_next(heads))
                await asyncio.wait({coming}, timeout=CHECK_S)
                if coming.done():
                    held, coming = coming.result(), None
                    leader.health.saw(held.number)
                    leader.health.answered(0)
                    self._none_since = None
                late = told is not None and held is not None and held.number < told.number
                if late and teller is not leader and self._now() - since < HELD_BACK_S:
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
        if len(self._all) == 1 or self._final is None:
            return
        assert leader.node is not None, "usable without a node"
        theirs = await leader.node.by_number(self._final.number)
        if theirs is None:
            raise Unreachable(leader.url, f"it has not reached block {self._final.ref}")
        if theirs.hash != self._final.hash:
            raise BadAnswer("eth_getBlockByNumber", f"final {self._final.ref}", f"{theirs.ref}")

    # -- choosing ---------------------------------------------------------------------------------

    def _elect(self, without: set[Provider] | None = None) -> Provider | None:
        """The leader; or, if it is in `without` or not usable, the best other one.

        Changes the leader where nothing is excepted.
        """
        usable = [one for one in self._all if one.usable and one not in (without or ())]
        if not usable:
            return None
        head = self._best_head()
        best = max(usable, key=lambda one: one.health.score(head))
        leader = self._leader
        if leader in usable:
            assert leader is not None
            better_by = best.health.score(head) - leader.health.score(head)
            if better_by <= LEAD_MARGIN or without:
                return leader
        if not without:
            self._leader = best
        return best

    async def _lead(self) -> Provider:
        """The leader, as soon as there is one. Raises the last error if there is none for long."""
        while True:
            self._changed.clear()
            leader = self._elect()
            if leader is not None:
                return leader
            assert self._last_error is not None, "nobody failed, and nobody is usable"
            if all(one.health.state == "excluded" for one in self._all):
                raise self._last_error
            if self._none_since is None:
                self._none_since = self._now()
            left_s = self._none_since + self._none_left_s - self._now()
            if left_s <= 0:
                raise self._last_error
            await _wait(self._changed, left_s)

    def _best_head(self) -> int | None:
        """The highest head, unless nobody else is anywhere near it."""
        heads = sorted(one.health.head or 0 for one in self._all if one.usable)
        if len(heads) > 1 and heads[-1] > heads[-2] + MAX_AHEAD_BLOCKS:
            return heads[-2]
        return heads[-1] if heads else None

    # -- tending ----------------------------------------------------------------------------------

    async def _tend(self, provider: Provider) -> None:
        """Look at a standby's head now and then, and bring back what was put aside."""
        health = provider.health
        while health.state != "excluded":
            if provider.usable:
                await _wait(provider.woken, STANDBY_POLL_S * (1 + self._random.random() / 10))
                await self._look(provider)
            elif (pause_s := health.until - self._now()) > 0:
                await asyncio.sleep(pause_s)
            else:
                await self._revive(provider)

    async def _look(self, provider: Provider) -> None:
        if not provider.usable or provider is self._leader:
            return  # the leader tells its heads by itself
        assert provider.node is not None, "usable without a node"
        began = self._now()
        try:
            head = await provider.node.head()
        except ChainError as error:
            self._fault(provider, error)
        else:
            provider.health.answered(self._now() - began)
            provider.health.saw(head.number)

    async def _revive(self, provider: Provider) -> ChainError | None:
        """Connect anew, for a node that contradicted itself starts with a clean slate."""
        await self._part(provider)
        try:
            provider.node = await Node.open(
                provider.url,
                self._deployment,
                self._confirmations,
                connect=self._connect,
                patience=IMPATIENT if len(self._all) > 1 else None,
                random=self._random,
                ranges=provider.ranges,
            )
        except ChainError as error:
            if isinstance(error, WrongNode | BadAnswer | Unreachable):
                self._fault(provider, error)
            else:
                self._fault(provider, Unreachable(provider.url, str(error)))
            return error
        came_back = provider.health.state != "ok"
        provider.health.released()
        if came_back:
            self._say(provider, "is asked again")
        return None

    async def _part(self, provider: Provider) -> None:
        node, provider.node = provider.node, None
        if node is not None:
            provider.health.faults += node.faults
            await node.close()

    def _fault(self, provider: Provider, error: ChainError) -> None:
        before = provider.health.state
        provider.health.failed(error, self._now())
        self._last_error = error
        if provider.usable:
            return
        provider.woken.set()
        if not any(one.usable for one in self._all) and self._none_since is None:
            self._none_since = self._now()
        if provider.health.state != before:
            pause_s = max(provider.health.until - self._now(), 0)
            aside = "for good" if provider.health.state == "excluded" else f"for {pause_s:g} s"
            self._say(provider, f"is {provider.health.state} {aside}: {error}")

    def _say(self, provider: Provider, words: str) -> None:
        self._changed.set()
        self._news.set()
        self._tell(f"provider {provider.shown} {words}")

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


async def _next(heads: AsyncGenerator[Block, None]) -> Block:
    return await heads.__anext__()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Until the event, which it takes back, or for so long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    event.clear()
