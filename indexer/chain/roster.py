"""A chain's providers: who is well, who leads, and what an operator sees of them.

The *leader* stays the leader until it fails, lies or falls clearly behind. A provider caught in a
lie is quarantined, one that does not answer is tried again later, one of another chain is left out.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from random import Random

from indexer.chain.errors import BadAnswer, ChainError, Unreachable, WrongNode
from indexer.chain.health import Report
from indexer.chain.node import Node
from indexer.chain.provider import Provider, shown

NONE_LEFT_S = 60.0
"""How long all providers may be unusable before the process ends."""
STANDBY_POLL_S = 5.0
"""Pause between looks at the head of a provider that is not the leader."""
LEAD_MARGIN = 20.0
"""By how many points another must be better to take the lead."""
MAX_AHEAD_BLOCKS = 1_000
"""A head further ahead of all others than this makes nobody look late."""
REPORT_S = 3.0
"""Pause between reports, unless somebody's state changes."""
SIGN_S = 10.0
"""Longest pause between reports, though there is no news."""


class Roster:
    """`connect` opens a provider's connection; `tell` hears of every change of state, in words."""

    def __init__(
        self,
        urls: Sequence[str],
        connect: Callable[[Provider], Awaitable[Node]],
        random: Random,
        tell: Callable[[str], None],
        none_left_s: float,
    ) -> None:
        self.providers = [Provider(url, name) for url, name in zip(urls, shown(urls), strict=True)]
        self.leader: Provider | None = None
        self._connect = connect
        self._random = random
        self._tell = tell
        self._none_left_s = none_left_s
        self._last_error: ChainError | None = None
        self.none_since: float | None = None
        """Since when nobody is usable."""
        self._changed = asyncio.Event()
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Connect to all. Raises the first provider's error if none is usable."""
        errors = await asyncio.gather(*map(self._revive, self.providers))
        if not any(provider.usable for provider in self.providers):
            await self.close()
            raise next(error for error in errors if error is not None)
        self._tasks = [asyncio.create_task(self._tend(one)) for one in self.providers]
        for one in self.providers:
            if not one.usable:
                self.say(one, f"is {one.health.state}: {one.health.last_fault}")

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for provider in self.providers:
            await self._part(provider)

    # -- what is seen of them ---------------------------------------------------------------------

    def report(self) -> list[Report]:
        """Every provider's state, in the order of the settings."""
        best = self._best_head()
        return [provider.report(best) for provider in self.providers]

    async def reports(self) -> AsyncIterator[list[Report]]:
        """The report, whenever a state changes, and every few seconds if anything else did.

        Now and then all the same: a sign of life.
        """
        told: list[Report] | None = None
        told_at = 0.0
        while True:
            self._news.clear()
            report = self.report()
            if report != told or _now() - told_at >= SIGN_S:
                told, told_at = report, _now()
                yield report
            await _wait(self._news, REPORT_S)

    def say(self, provider: Provider, words: str) -> None:
        self._changed.set()
        self._news.set()
        if self._tasks:  # what goes wrong while we open is raised, or told at its end
            self._tell(f"provider {provider.shown} {words}")

    # -- choosing ---------------------------------------------------------------------------------

    def elect(self, without: Collection[Provider] = ()) -> Provider | None:
        """The leader; or, if it is in `without` or not usable, the best other one.

        Changes the leader where nothing is excepted.
        """
        usable = [one for one in self.providers if one.usable and one not in without]
        if not usable:
            return None
        head = self._best_head()
        best = max(usable, key=lambda one: one.health.score(head))
        leader = self.leader
        if leader is not None and leader in usable:
            better_by = best.health.score(head) - leader.health.score(head)
            if better_by <= LEAD_MARGIN or without:
                return leader
        if not without:
            self.leader = best
        return best

    async def lead(self) -> Provider:
        """The leader, as soon as there is one. Raises the last error if there is none for long."""
        while True:
            self._changed.clear()
            leader = self.elect()
            if leader is not None:
                return leader
            assert self._last_error is not None, "nobody failed, and nobody is usable"
            if all(one.health.state == "excluded" for one in self.providers):
                raise self._last_error
            if self.none_since is None:
                self.none_since = _now()
            left_s = self.none_since + self._none_left_s - _now()
            if left_s <= 0:
                raise self._last_error
            await _wait(self._changed, left_s)

    def _best_head(self) -> int | None:
        """The highest head, unless nobody else is anywhere near it."""
        heads = sorted(one.health.head or 0 for one in self.providers if one.usable)
        if len(heads) > 1 and heads[-1] > heads[-2] + MAX_AHEAD_BLOCKS:
            return heads[-2]
        return heads[-1] if heads else None

    # -- how they do ------------------------------------------------------------------------------

    def answered(self, provider: Provider, latency_s: float) -> None:
        provider.health.answered(latency_s)
        self.none_since = None

    def fault(self, provider: Provider, error: ChainError) -> None:
        """Count an error of one of them, and put it aside if it is to be."""
        before = provider.health.state
        provider.health.failed(error, _now())
        self._last_error = error
        if provider.usable:
            return
        provider.woken.set()
        if not any(one.usable for one in self.providers) and self.none_since is None:
            self.none_since = _now()
        if provider.health.state != before:
            pause_s = max(provider.health.until - _now(), 0)
            aside = "for good" if provider.health.state == "excluded" else f"for {pause_s:g} s"
            self.say(provider, f"is {provider.health.state} {aside}: {error}")

    async def _tend(self, provider: Provider) -> None:
        """Look at a standby's head now and then, and bring back what was put aside."""
        health = provider.health
        while health.state != "excluded":
            if provider.usable:
                await _wait(provider.woken, STANDBY_POLL_S * (1 + self._random.random() / 10))
                await self._look(provider)
            elif (pause_s := health.until - _now()) > 0:
                await asyncio.sleep(pause_s)
            else:
                await self._revive(provider)

    async def _look(self, provider: Provider) -> None:
        if not provider.usable or provider is self.leader:
            return  # the leader tells its heads by itself
        began = _now()
        try:
            head = await provider.connection.head()
        except ChainError as error:
            self.fault(provider, error)
        else:
            provider.health.answered(_now() - began)
            provider.health.saw(head.number)

    async def _revive(self, provider: Provider) -> ChainError | None:
        """Connect anew, for a node that contradicted itself starts with a clean slate."""
        await self._part(provider)
        try:
            provider.node = await self._connect(provider)
        except ChainError as error:
            known = isinstance(error, WrongNode | BadAnswer | Unreachable)
            self.fault(provider, error if known else Unreachable(provider.url, str(error)))
            return error
        came_back = provider.health.state != "ok"
        provider.health.released()
        if came_back:
            self.say(provider, "is asked again")
        return None

    async def _part(self, provider: Provider) -> None:
        node, provider.node = provider.node, None
        if node is not None:
            provider.health.faults += node.faults
            await node.close()


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Until the event, which it takes back, or for so long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    event.clear()
