"""`/v1` in one process: from the tail's messages to each listener's channels.

Nothing in `publish` waits. A listener that is still being told the past has a seat of its own and
misses nothing of what comes meanwhile (`Seat`).
"""

from indexer.domain.listing import Directory
from indexer.topics import Topic, brackets, topic_of
from indexer.wire import Message
from ws.limits import Limits
from ws.native.audience import Audience, Listener, Seat, closes_window
from ws.native.feed import Feed
from ws.native.messages import Conflation, Position, say
from ws.native.past import Past
from ws.native.session import Open
from ws.native.telling import event_of, now_ms
from ws.native.topics import name_of
from ws.native.usher import Usher
from ws.tally import Tally


class Live:
    """Who listens to what; `feed` says what has been published."""

    def __init__(self, directory: Directory, past: Past, limits: Limits) -> None:
        self.past = past
        self.limits = limits
        self.feed = Feed()
        self.tally = Tally()
        self.listeners: set[Listener] = set()
        self._directory = directory
        self._usher = Usher(self.feed, past, directory, self.leave)
        self._audiences: dict[Topic, dict[Conflation, Audience]] = {}

    # -- from the tail ---------------------------------------------------------------------------

    def publish(self, message: Message) -> None:
        """Tell everyone concerned, in the order of seq."""
        feed, topic = self.feed, topic_of(message)
        feed.seq = max(feed.seq, message.seq)
        if topic is None:
            self._words(message, of_stream=True)
            return
        self._close_blocks(topic, message)
        if topic.stream == "depth":
            feed.keep(message)
        if topic in self._audiences:
            feed.links[topic] = message.seq
            self._link(topic, message)
        if brackets(message):
            self._words(message, of_stream=False)

    def flush(self, *cadences: Conflation) -> None:
        """Close the windows of some cadences."""
        for by_cadence in self._audiences.values():
            for conflate in cadences:
                if audience := by_cadence.get(conflate):
                    self.feed.flush(audience)

    def renew(self, reason: str, *, books: bool = True) -> None:
        """Give everybody a fresh snapshot of every channel: what they hold is no more."""
        for listener in self.listeners:
            for topic in list(listener.seats):
                if books or topic.stream not in ("depth", "system"):
                    self.reopen(listener, topic, reason)

    def _close_blocks(self, topic: Topic, message: Message) -> None:
        """End windows of a block before another one's first message moves the book."""
        audience = self._audiences.get(topic, {}).get("block")
        if audience is not None and closes_window(audience.pending, message):
            self.feed.flush(audience)

    def _link(self, topic: Topic, message: Message) -> None:
        """One link of a channel, to each of its audiences in its cadence."""
        payload = b""
        for conflate, audience in self._audiences[topic].items():
            if conflate == "raw":
                payload = payload or self._event(audience, message, message.prev_seq)
                audience.publish(Position(message.epoch, message.seq), payload)
                continue
            audience.pending.add(message)
            if audience.unsettled(message.seq):  # a window must not span where a past ends
                self.feed.flush(audience)

    def _words(self, message: Message, *, of_stream: bool) -> None:
        """What is no link of a channel: a promotion, or a bracket around a reorg, told to all."""
        for topic, by_cadence in self._audiences.items():
            if of_stream != (topic.stream == message.stream):
                continue
            for audience in by_cadence.values():
                self.feed.flush(audience)
                payload = self._event(audience, message, None)
                audience.publish(Position(message.epoch, message.seq), payload)

    def _event(self, audience: Audience, message: Message, prev_seq: int | None) -> bytes:
        checksum = None
        if prev_seq is not None:
            checksum = self.feed.checksum(audience.topic, message.seq)
        return say(event_of(audience.name, message, checksum, prev_seq), now_ms())

    # -- from listeners --------------------------------------------------------------------------

    def open(self, listener: Listener, opened: Open, reason: str | None = None) -> None:
        """Give a listener a channel; what it is told of the past comes in its own time."""
        topic, conflate = opened.topic, opened.asked.conflate
        self.leave(listener, topic)
        by_cadence = self._audiences.setdefault(topic, {})
        if conflate not in by_cadence:
            by_cadence[conflate] = Audience(topic, conflate, name_of(topic, self._directory))
        audience, seat = by_cadence[conflate], Seat()
        self.feed.flush(audience)
        audience.late[listener] = seat
        listener.seats[topic] = (audience, seat)
        self._usher.seat(listener, opened, reason)

    def reopen(self, listener: Listener, topic: Topic, reason: str) -> None:
        """The same channel again from a fresh snapshot, without having been asked."""
        self.open(listener, Open(None, topic, listener.session.topics[topic]), reason)

    def leave(self, listener: Listener, topic: Topic) -> None:
        """Take a channel away. Nothing happens if the listener does not have it."""
        if topic not in listener.seats:
            return
        audience, _ = listener.seats.pop(topic)
        listener.behind.discard(topic)
        audience.leave(listener)
        if not audience:
            by_cadence = self._audiences[topic]
            del by_cadence[audience.conflate]
            if not by_cadence:
                del self._audiences[topic]
                self.feed.links.pop(topic, None)

    def part(self, listener: Listener) -> None:
        """A connection has ended."""
        self.listeners.discard(listener)
        for topic in list(listener.seats):
            self.leave(listener, topic)

    def tend(self) -> None:
        """Give slow listeners that have caught up their books again."""
        for listener in self.listeners:
            if listener.behind and listener.caught_up and not listener.client.leaving:
                for topic in list(listener.behind):
                    self.tally.coalesced += 1
                    self.reopen(listener, topic, "slow")

    def channels_of(self, listener: Listener) -> dict[str, int]:
        """The newest link of each channel that the listener has been told all of."""
        links = self.feed.links
        return {
            audience.name: audience.newest(links.get(topic, 0), seat)
            for topic, (audience, seat) in listener.seats.items()
            if seat.waiting is None and topic not in listener.behind
        }

    async def stop(self) -> None:
        await self._usher.stop()
