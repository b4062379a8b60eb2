"""Messages of one topic from a position on: those that went by, then those that come."""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Protocol

import msgspec

from api import limits, reads
from api.errors import BadInput, HistoryLost, Unavailable
from api.feed import Feed, hears
from indexer.store.links import BEHIND, behind
from indexer.store.queries import Query
from indexer.store.snapshot import Snapshot
from indexer.topics import Topic, topic_of
from indexer.wire import Message

_decode = msgspec.json.Decoder(Message).decode
_BEHIND = Query(BEHIND)


class Listening(Protocol):
    """What a subscription wants of its context."""

    snapshot: Snapshot
    feed: Feed | None

    def hang_up(self) -> None:
        """Close the connection of a client that does not keep up."""

    async def renew(self) -> None:
        """Give the snapshot back; what is read next is newer."""


class After(Protocol):
    """Where a subscriber stands: it has been told everything up to `seq`."""

    @property
    def epoch(self) -> str: ...
    @property
    def seq(self) -> int: ...


State = Callable[[reads.Position], Awaitable[Message]]
"""What to tell first whoever does not say where it stands."""


async def heard(
    context: Listening, topic: Topic, after: After | None, state: State | None = None
) -> AsyncIterator[Message]:
    """A topic's messages, each once, without end. Raises Unavailable, BadInput, HistoryLost.

    It joins before it reads, so nothing published meanwhile is missed; what both tell is told once.
    """
    feed = context.feed
    if feed is None:
        raise Unavailable("this process has no streams: TIDEBOOK_REDIS_URL is not set")
    listener = await feed.join(topic, context.hang_up)
    try:
        position = await reads.position(context.snapshot)
        if position is None or position.number is None:
            raise Unavailable("nothing is indexed yet")
        missed: list[Message] = []
        if after is not None:
            missed = await _since(context.snapshot, topic, after, position)
        elif state is not None:
            missed = [await state(position)]
        await context.renew()
        for message in missed:
            yield message
        link = position.seq
        while True:
            message = await listener.next()
            known = message.epoch == position.epoch
            if known and message.seq <= position.seq:
                continue
            if topic_of(message) == topic:
                if not known or message.prev_seq > link:
                    raise HistoryLost(f"messages between {link} and {message.seq} are missing")
                link = message.seq
            yield message
    finally:
        feed.leave(listener)


async def _since(
    snapshot: Snapshot, topic: Topic, after: After, head: reads.Position
) -> list[Message]:
    """A topic's messages behind a position, whole."""
    if after.epoch != head.epoch:
        raise HistoryLost(f"the epoch is {head.epoch}", epoch=head.epoch)
    if not 0 <= after.seq <= head.seq:
        raise BadInput("after.seq", f"0 to {head.seq}", after.seq)
    most = limits.MAX_REPLAYED_MESSAGES
    channels = {topic.channel, topic.stream, "system"}
    told = await behind(partial(snapshot.read, _BEHIND), channels, after.seq, most)
    if len(told) > most:
        raise HistoryLost(f"seq {after.seq} is more than {most} messages ago")
    messages = list(map(_decode, told))
    links = [one for one in messages if topic_of(one) == topic]
    newest = await reads.channel_seq(snapshot, topic.channel)
    if links[0].prev_seq > after.seq if links else newest > after.seq:
        raise HistoryLost(f"messages behind seq {after.seq} are no longer kept")
    return [one for one in messages if hears(one, topic)]
