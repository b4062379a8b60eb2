"""What the streams say, passed on to whoever in this process listens to a part of it.

One reader of Redis serves all subscriptions. What waits for one of them is bounded: who does not
keep up is told to come again, and where it stood.
"""

import asyncio
from collections.abc import Callable

from api import limits
from api.errors import HistoryLost, LimitExceeded, Unavailable
from indexer.store.tail import Tail
from indexer.topics import Topic, concerns
from indexer.wire import Message

PATIENCE_STEP_S = 0.005
"""Seconds between two looks at who is behind."""


def hears(message: Message, topic: Topic) -> bool:
    """Whether a topic's subscribers are told of a message: also that a backfill told nothing."""
    rebuilt = message.stream == "system" and message.op == "snapshot"
    return rebuilt or concerns(message, topic)


class Listener:
    """One subscription's messages from the moment it joined. `on_slow` is called at most once."""

    def __init__(self, topic: Topic, on_slow: Callable[[], None]) -> None:
        self.topic = topic
        self._on_slow = on_slow
        self._waiting: asyncio.Queue[Message | None] = asyncio.Queue()
        self._slow = False

    @property
    def behind(self) -> bool:
        """Whether more waits than may wait for long."""
        return not self._slow and self._waiting.qsize() > limits.MAX_QUEUED_MESSAGES

    def offer(self, message: Message | None) -> None:
        """Queue a message, or with None the end of this history."""
        if not self._slow:
            self._waiting.put_nowait(message)

    def give_up(self) -> None:
        """Nothing more for a client that does not keep up."""
        self._slow = True
        self._waiting.put_nowait(None)
        self._on_slow()

    async def next(self) -> Message:
        """The next message. Raises LimitExceeded, or HistoryLost where history ends."""
        await asyncio.sleep(0)  # a full queue never waits, and others want their turn
        message = await self._waiting.get()
        if self._slow:
            most = limits.MAX_QUEUED_MESSAGES
            raise LimitExceeded(f"more than {most} messages behind", limit=most)
        if message is None:
            raise HistoryLost("another history of messages has begun")
        return message


class Feed:
    """All subscriptions of this process, and the one tail that they hear."""

    def __init__(self, redis_url: str, chain_id: int) -> None:
        self.tail = Tail(redis_url, chain_id, self._publish, self._end)
        self.listeners: set[Listener] = set()
        self.slow = 0
        """Subscriptions that did not keep up, so far."""

    async def run(self) -> None:
        """Read until cancelled."""
        await self.tail.run()

    async def join(self, topic: Topic, on_slow: Callable[[], None]) -> Listener:
        """Listen from now on. Whoever joined leaves. Raises Unavailable."""
        try:
            async with asyncio.timeout(limits.CHECK_TIMEOUT_S):
                await self.tail.positioned.wait()
        except TimeoutError:
            raise Unavailable("the streams do not answer") from None
        listener = Listener(topic, on_slow)
        self.listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        self.listeners.discard(listener)

    async def _publish(self, messages: list[Message]) -> None:
        for message in messages:
            for listener in self.listeners:
                if hears(message, listener.topic):
                    listener.offer(message)
        await self._wait_for_the_slow()

    async def _wait_for_the_slow(self) -> None:
        """A burst makes nobody slow who takes it in time; the others lose their place."""
        try:
            async with asyncio.timeout(limits.PATIENCE_S):
                while any(listener.behind for listener in self.listeners):
                    await asyncio.sleep(PATIENCE_STEP_S)
        except TimeoutError:
            for listener in self.listeners:
                if listener.behind:
                    self.slow += 1
                    listener.give_up()

    async def _end(self) -> None:
        for listener in self.listeners:
            listener.offer(None)
