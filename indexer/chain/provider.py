"""One of several nodes: its URL, its connection while there is one, and its record."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from indexer.chain.health import Health, Report
from indexer.chain.node import Node
from indexer.chain.ranges import Ranges
from indexer.chain.urls import masked


class Provider:
    """`node` is None while there is no connection."""

    def __init__(self, url: str, shown: str) -> None:
        self.url = url
        self.shown = shown
        self.node: Node | None = None
        self.health = Health()
        self.ranges = Ranges()
        self.woken = asyncio.Event()
        """Set when it stopped being usable."""

    @property
    def usable(self) -> bool:
        return self.health.state == "ok" and self.node is not None

    @property
    def connection(self) -> Node:
        """Of one that is usable."""
        assert self.node is not None, "asked without a connection"
        return self.node

    def report(self, best_head: int | None) -> Report:
        health = self.health
        faults = health.faults + (Counter() if self.node is None else self.node.faults)
        score = round(health.score(best_head)) if self.usable else 0
        words = health.last_fault or (self.node.last_fault if self.node is not None else None)
        return Report(self.shown, health.state, score, health.head, dict(faults), words or None)


def shown(urls: Sequence[str]) -> list[str]:
    """The URLs without secrets, told apart by a number where nothing else does."""
    seen: Counter[str] = Counter()
    names = []
    for url in urls:
        name = masked(url)
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return names
