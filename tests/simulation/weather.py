"""What befalls Postgres and Redis: any operation may be slow or fail, and a server may be gone.

An operation fails before its effect or behind it, so whoever asked cannot know which.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable

from indexer.store.memory import Pause

COMMITS = 4
"""So many times more often than others they fail, for there it matters most."""
WRITES = ("append", "upsert", "delete", "update", "insert", "set", "commit", "create", "drop")


class Lost(ConnectionError):
    """The connection broke."""


class DiskFull(Exception):
    """The server has no room for what is written."""


class Killed(BaseException):
    """The process is no more. Nothing may catch it."""


class Weather:
    """`calm` ends all faults. `note` hears of every operation."""

    def __init__(
        self, draw: random.Random, seen: Counter[str], note: Callable[[str], None]
    ) -> None:
        self.calm = False
        self.rate = draw.choice((0.0, 0.001, 0.004, 0.015))
        """Of operations that fail."""
        self.postgres_down = self.redis_down = self.disk_full = False
        self._draw = draw
        self._seen = seen
        self._note = note

    def store(self, done: Callable[[], None]) -> Pause:
        """For a writer's connection to Postgres; `done` is called behind every commit."""

        async def pause(operation: str) -> None:
            if operation == "committed":
                done()
            await self._wait(operation)
            if self.postgres_down and not self.calm:
                self._seen["Postgres is down"] += 1
                raise Lost(operation)
            if self.disk_full and not self.calm and operation.startswith(WRITES):
                self._seen["the disk is full"] += 1
                raise DiskFull(operation)
            self._fail(operation)

        return pause

    def relay(self) -> Pause:
        """For a relay's connections to both."""

        async def pause(operation: str) -> None:
            await self._wait(operation)
            down = self.postgres_down if operation == "read outbox" else self.redis_down
            if down and not self.calm:
                self._seen["Redis is down" if self.redis_down else "Postgres is down"] += 1
                raise Lost(operation)
            self._fail(operation)

        return pause

    async def _wait(self, operation: str) -> None:
        self._note(operation)
        draw = self._draw.random()
        if draw > 0.98:
            await asyncio.sleep(self._draw.choice((0.001, 0.05, 0.6)))
        elif draw > 0.9:
            await asyncio.sleep(0)

    def _fail(self, operation: str) -> None:
        rate = self.rate * (COMMITS if operation.startswith("commit") else 1)
        if self.calm or self._draw.random() >= rate:
            return
        self._seen[f"fails at {operation.split()[0]}"] += 1
        if operation == "committed":
            self._seen["a commit of unknown outcome"] += 1
        if self._draw.random() < 0.5:
            self._note("killed")
            raise Killed
        self._note("lost")
        raise Lost(operation)
