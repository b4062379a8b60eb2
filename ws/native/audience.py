"""Who listens to one channel in one cadence, and who is still being told what came before."""

from indexer.topics import Topic
from indexer.wire import Message
from ws.hub import Client
from ws.limits import SLOW
from ws.native.conflate import Pending
from ws.native.messages import Conflation, Notice, Position, say
from ws.native.session import Session
from ws.outlet import text_frame
from ws.tally import Tally

RESUME_SHARE = 4
"""A slow client gets its books again once it has taken all but this part of its limit."""


class Listener:
    """One connection of `/v1`."""

    def __init__(self, client: Client, session: Session, tally: Tally) -> None:
        self.client = client
        self.session = session
        self.tally = tally
        self.seats: dict[Topic, tuple[Audience, Seat]] = {}
        self.behind: set[Topic] = set()
        """Books it was too slow for: it gets a fresh snapshot of each when it has caught up."""
        self.position: Position | None = None
        """The newest link it was sent: where it can resume."""

    def tell(self, payload: bytes) -> bool:
        """Send what may not be left out. False if the client is too slow and has to go."""
        frame = text_frame(payload)
        return self.offer(frame, None)

    def offer(self, frame: bytes, position: Position | None) -> bool:
        client = self.client
        if client.leaving:
            return True
        if client.outlet.buffered() + len(frame) > client.limit:
            self.dismiss_slow()
            return False
        self.tally.frames += 1
        client.outlet.write(frame)
        self.position = position or self.position
        return True

    def offer_book(self, topic: Topic, frame: bytes, position: Position) -> None:
        """Send a change of a book, or note that the book has to be told anew."""
        if topic in self.behind:
            return
        client = self.client
        if client.outlet.buffered() + len(frame) > client.limit // 2:
            self.behind.add(topic)
            return
        self.tally.frames += 1
        client.outlet.write(frame)
        self.position = position

    @property
    def caught_up(self) -> bool:
        return self.client.outlet.buffered() <= self.client.limit // RESUME_SHARE

    def dismiss_slow(self) -> None:
        """Close, and say where to resume: what is lost to us is not lost to the client."""
        at = self.position
        words = f"resume from {at.epoch}/{at.seq}" if at else "too slow"
        if not self.client.leaving:
            self.tally.slow_clients += 1
            notice = Notice("slow", at, [topic.channel for topic in self.seats])
            self.client.outlet.write(text_frame(say(notice, 0)))
        self.client.close(SLOW, words)


class Seat:
    """A listener's place: what is up to `floor` it has by other means."""

    def __init__(self) -> None:
        self.floor = 0
        self.link = 0
        """The channel's newest link up to there."""
        self.waiting: list[tuple[int, bytes]] | None = []
        """What came while it was being told the past; None once it is told."""
        self.waiting_bytes = 0


class Audience:
    """The listeners of a topic in one cadence."""

    def __init__(self, topic: Topic, conflate: Conflation, name: str) -> None:
        self.topic = topic
        self.conflate = conflate
        self.name = name
        self.pending = Pending(topic)
        self.live: set[Listener] = set()
        self.late: dict[Listener, Seat] = {}
        """Those that must not get everything yet."""

    def __len__(self) -> int:
        return len(self.live) + len(self.late)

    def newest(self, link: int, seat: Seat) -> int:
        """What a seat has been told of up to, if `link` is the newest one published."""
        pending = self.pending.first
        return max(seat.link, link if pending is None else pending.prev_seq)

    def unsettled(self, seq: int) -> bool:
        """Whether somebody has this seq by other means, or may yet."""
        return any(seat.waiting is not None or seat.floor >= seq for seat in self.late.values())

    def leave(self, listener: Listener) -> None:
        self.live.discard(listener)
        self.late.pop(listener, None)

    def publish(self, position: Position, payload: bytes) -> None:
        """One event to everyone here: encoded and framed once."""
        frame = text_frame(payload)
        if self.topic.stream == "depth":
            for listener in self.live:
                listener.offer_book(self.topic, frame, position)
        else:
            for listener in self.live:
                listener.offer(frame, position)
        for listener, seat in list(self.late.items()):
            if seat.waiting is not None:
                seat.waiting.append((position.seq, frame))
                seat.waiting_bytes += len(frame)
                if seat.waiting_bytes > listener.client.limit:
                    listener.dismiss_slow()
            elif position.seq > seat.floor:
                self._admit(listener, position, frame)

    def settle(self, listener: Listener, seat: Seat, epoch: str) -> None:
        """The past is told up to the seat's floor: what came meanwhile follows, then the rest."""
        waiting, seat.waiting = seat.waiting or [], None
        for seq, frame in waiting:
            if seq > seat.floor:
                self.late.pop(listener, None)
                self.live.add(listener)
                listener.offer(frame, Position(epoch, seq))

    def _admit(self, listener: Listener, position: Position, frame: bytes) -> None:
        del self.late[listener]
        self.live.add(listener)
        listener.offer(frame, position)


def closes_window(pending: Pending, message: Message) -> bool:
    """Whether a message begins another block, or turns from taking back to applying."""
    newest = pending.newest
    if newest is None:
        return False
    return (newest.block.hash, newest.op) != (message.block.hash, message.op)
