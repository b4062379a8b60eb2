"""`/v1` in one process: from the tail's messages to each listener's channels.

Nothing in `publish` waits. A listener that is still being told the past has a seat of its own and
misses nothing of what comes meanwhile (`Seat`); snapshots of books come out of memory.
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import msgspec
from msgspec import UNSET

from indexer.domain.listing import Directory
from indexer.domain.units import Address
from indexer.wire import Message
from ws.limits import Limits
from ws.native.audience import Audience, Listener, Seat, closes_window
from ws.native.book import Book
from ws.native.messages import (
    Conflation,
    Error,
    Position,
    Scale,
    Subscribed,
    say,
)
from ws.native.past import Head, Past, Replay, Unavailable
from ws.native.session import Open
from ws.native.telling import event_of
from ws.native.topics import MARKET_STREAMS, Topic, brackets, name_of, topic_of
from ws.outlet import text_frame

RECOVERIES = 8
"""Subscriptions looked up in Postgres and Redis at once."""
DRAIN_BYTES = 64 * 1024
"""Bytes of a replay written before the client has to take some."""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Live:
    """Books, audiences and links. `epoch` and `seq` say what has been published."""

    def __init__(self, directory: Directory, past: Past, limits: Limits) -> None:
        self.directory = directory
        self.past = past
        self.limits = limits
        self.listeners: set[Listener] = set()
        self.epoch: str | None = None
        self.seq = 0
        self.books: dict[Address, Book] = {}
        self.links: dict[Topic, int] = {}
        """Newest link of each channel that somebody has."""
        self._depth_links: dict[Address, int] = {}
        self._books_epoch: str | None = None
        self._books_seq = 0
        self._audiences: dict[Topic, dict[Conflation, Audience]] = {}
        self._recovering = asyncio.Semaphore(RECOVERIES)
        self._tasks: set[asyncio.Task[None]] = set()
        self.head: Head | None = None

    # -- from the tail ---------------------------------------------------------------------------

    async def load_books(self) -> bool:
        """Read all books. False if Postgres is away; they are then not to be had."""
        try:
            head, books = await self.past.books()
        except Unavailable:
            self._books_epoch = None
            return False
        self.head = head
        self.books = {market: book for market, (_, book) in books.items()}
        self._depth_links = {market: link for market, (link, _) in books.items()}
        self._books_epoch, self._books_seq = head.epoch, head.seq
        self.epoch = self.epoch or head.epoch
        self.seq = max(self.seq, head.seq)
        return True

    @property
    def has_books(self) -> bool:
        """Whether our books are of the history that we read."""
        return self._books_epoch is not None and self._books_epoch == self.epoch

    def depth_link(self, market: Address) -> int:
        """The newest change that a market's book holds."""
        return self._depth_links.get(market, 0)

    def publish(self, message: Message) -> None:
        """Tell everyone concerned, in the order of seq."""
        self.seq = max(self.seq, message.seq)
        topic = topic_of(message)
        checksum = self._keep(message) if message.stream == "depth" and topic else None
        if topic is not None:
            if topic in self._audiences:
                self.links[topic] = message.seq
                self._link(topic, message, checksum)
            if brackets(message):
                for other in [one for one in self._audiences if one != topic]:
                    self._word(other, message)
        else:
            for other in [one for one in self._audiences if one.stream == message.stream]:
                self._word(other, message)

    def end_batch(self) -> None:
        """All that Redis had is published: blocks are whole."""
        self.flush("block")

    def flush(self, conflate: Conflation) -> None:
        """Close the windows of one cadence."""
        for by_cadence in self._audiences.values():
            if audience := by_cadence.get(conflate):
                self._flush(audience)

    def renew(self, reason: str, *, books: bool = True) -> None:
        """Give everybody a fresh snapshot of every channel: what they hold is no more."""
        for listener in self.listeners:
            for topic in list(listener.seats):
                if books or topic.stream not in ("depth", "system"):
                    self.reopen(listener, topic, reason)

    def _keep(self, message: Message) -> int | None:
        """Bring the book up to a message; its checksum, if it stands exactly there."""
        market = Address(message.market or "")
        if message.seq <= self._books_seq and self.has_books:
            return None  # the book is ahead of the feed
        if message.op == "snapshot" or market not in self.books:
            self.books[market] = Book()
        self._depth_links[market] = message.seq
        book = self.books[market]
        book.apply(message.data)
        wanted = self.has_books and Topic("depth", market) in self._audiences
        return book.checksum() if wanted else None

    def _link(self, topic: Topic, message: Message, checksum: int | None) -> None:
        payload: bytes | None = None
        for conflate, audience in self._audiences[topic].items():
            if conflate == "raw":
                payload = payload or self._event(audience, message, checksum, message.prev_seq)
                audience.publish(Position(message.epoch, message.seq), payload)
                continue
            if conflate == "block" and closes_window(audience.pending, message):
                self._flush(audience)
            audience.pending.add(message)

    def _word(self, topic: Topic, message: Message) -> None:
        """What is no link of the channel: a promotion, or a bracket around a reorg."""
        for audience in self._audiences[topic].values():
            self._flush(audience)
            payload = self._event(audience, message, None, None)
            audience.publish(Position(message.epoch, message.seq), payload)

    def _flush(self, audience: Audience) -> None:
        newest = audience.pending.newest
        if newest is None:
            return
        book = self.books.get(Address(audience.topic.subject))
        checksum = None
        if book is not None and self.has_books and newest.seq > self._books_seq:
            checksum = book.checksum() if audience.topic.stream == "depth" else None
        event = audience.pending.take(audience.name, checksum)
        assert event is not None, "something was pending"
        payload = say(event, now_ms())
        audience.publish(Position(newest.epoch, newest.seq), payload)

    def _event(
        self, audience: Audience, message: Message, checksum: int | None, prev_seq: int | None
    ) -> bytes:
        return say(event_of(audience.name, message, checksum, prev_seq), now_ms())

    # -- from listeners --------------------------------------------------------------------------

    def open(self, listener: Listener, opened: Open) -> None:
        """Give a listener a channel; what it is told of the past comes in its own time."""
        topic, asked = opened.topic, opened.asked
        self.leave(listener, topic)
        audience = self._audience(topic, asked.conflate)
        self._flush(audience)
        seat = Seat()
        audience.late[listener] = seat
        listener.seats[topic] = (audience, seat)
        if topic.stream == "depth" and asked.from_position is None and asked.from_block is None:
            self._seat_at_book(listener, opened, "fresh")
            return
        self._spawn(self._recover(listener, opened, audience, seat))

    def reopen(self, listener: Listener, topic: Topic, reason: str) -> None:
        """The same channel again from a fresh snapshot, without having been asked."""
        asked = listener.session.topics[topic]
        opened = Open(None, topic, asked)
        self.leave(listener, topic)
        audience = self._audience(topic, asked.conflate)
        seat = Seat()
        audience.late[listener] = seat
        listener.seats[topic] = (audience, seat)
        if topic.stream == "depth":
            self._seat_at_book(listener, opened, reason)
        else:
            self._spawn(self._recover(listener, opened, audience, seat, reason))

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
                self.links.pop(topic, None)

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
                    self.reopen(listener, topic, "slow")

    def channels_of(self, listener: Listener) -> dict[str, int]:
        """The newest link of each channel that the listener has been told all of."""
        return {
            audience.name: self.links[topic]
            for topic, (audience, seat) in listener.seats.items()
            if seat.waiting is None and topic in self.links and topic not in listener.behind
        }

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _audience(self, topic: Topic, conflate: Conflation) -> Audience:
        by_cadence = self._audiences.setdefault(topic, {})
        if conflate not in by_cadence:
            by_cadence[conflate] = Audience(topic, conflate, name_of(topic, self.directory))
        return by_cadence[conflate]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _seat_at_book(self, listener: Listener, opened: Open, reason: str) -> None:
        """Begin with the book in memory, which stands where the feed does."""
        topic = opened.topic
        audience, seat = listener.seats[topic]
        if not self.has_books:
            self._refuse(listener, opened, Error("unavailable", "the books cannot be read now"))
            return
        self._flush(audience)
        market = Address(topic.subject)
        book = self.books.setdefault(market, Book())
        link = self._depth_links.get(market, 0)
        seat.floor = max(self.seq, self._books_seq)
        self.links[topic] = max(link, self.links.get(topic, 0))
        levels = dict(book.levels())
        told = self._subscribed(opened, reason=reason, seq=link, snapshot=levels)
        self._told(listener, opened, told, book.checksum())
        self._settle(listener, opened)

    async def _recover(
        self,
        listener: Listener,
        opened: Open,
        audience: Audience,
        seat: Seat,
        reason: str | None = None,
    ) -> None:
        """Find what the listener lacks, tell it, and let what came meanwhile follow."""
        topic, asked = opened.topic, opened.asked
        base: tuple[int, Book | None] | None = None
        replay: Replay | str = reason or "fresh"
        try:
            async with self._recovering:
                if reason is None and asked.from_position is not None:
                    replay = await self._since(topic, asked.from_position)
                elif reason is None and asked.from_block is not None:
                    base, replay = await self._since_block(topic, asked.from_block)
                snapshot = None
                if isinstance(replay, str) and topic.stream != "depth":
                    snapshot = await self.past.snapshot(topic)
        except Unavailable as unavailable:
            replay = str(unavailable)
            if topic.stream != "depth":
                self._refuse(listener, opened, Error("unavailable", replay))
                return
        if listener.seats.get(topic) != (audience, seat):
            return  # it has left, or asked anew
        if isinstance(replay, Replay):
            await self._replay(listener, opened, replay, base)
            return
        if snapshot is None:
            self._seat_at_book(listener, opened, replay)
            return
        seat.floor = snapshot.seq
        self.links[topic] = max(snapshot.link, self.links.get(topic, 0))
        told = self._subscribed(opened, reason=replay, seq=snapshot.link, snapshot=snapshot.data)
        self._told(listener, opened, told, None)
        self._settle(listener, opened)

    async def _since(self, topic: Topic, position: Position) -> Replay | str:
        if position.epoch != self.epoch:
            return "epoch_changed"
        return await self.past.since(topic, position.epoch, position.seq, self.seq)

    async def _since_block(
        self, topic: Topic, number: int
    ) -> tuple[tuple[int, Book | None] | None, Replay | str]:
        found = await self.past.since_block(topic, number)
        if isinstance(found, str):
            return None, found
        seq, snapshot = found
        book = Book(snapshot.data["bids"], snapshot.data["asks"]) if snapshot else None
        if self.epoch is None:
            return None, "unavailable"
        return (seq, book), await self.past.since(topic, self.epoch, seq, self.seq)

    async def _replay(
        self,
        listener: Listener,
        opened: Open,
        replay: Replay,
        base: tuple[int, Book | None] | None,
    ) -> None:
        """Tell a past that is whole; a long one no faster than the client takes it."""
        topic, asked = opened.topic, opened.asked
        audience, seat = listener.seats[topic]
        book = base[1] if base else None
        begin = base[0] if base else asked.from_position.seq if asked.from_position else 0
        snapshot = dict(book.levels()) if book else None
        told = self._subscribed(opened, recovered=True, seq=begin, snapshot=snapshot)
        self._told(listener, opened, told, book.checksum() if book else None)
        unread = 0
        for message in replay.messages:
            is_link = topic_of(message) == topic
            checksum = None
            if book and is_link:
                if message.op == "snapshot":
                    book = Book()
                book.apply(message.data)
                checksum = book.checksum()
            if is_link:
                self.links[topic] = max(message.seq, self.links.get(topic, 0))
            event = event_of(
                audience.name, message, checksum, message.prev_seq if is_link else None
            )
            frame = text_frame(say(event, now_ms()))
            if not listener.offer(frame, Position(message.epoch, message.seq)):
                return
            unread += len(frame)
            if unread > min(DRAIN_BYTES, listener.client.limit // 4):
                unread = 0
                await asyncio.sleep(0)
                await listener.client.outlet.drained()
                if listener.seats.get(topic) != (audience, seat):
                    return
        seat.floor = replay.seq
        self._settle(listener, opened)

    def _settle(self, listener: Listener, opened: Open) -> None:
        if opened.topic in listener.seats:
            audience, seat = listener.seats[opened.topic]
            audience.settle(listener, seat, self.epoch or "")

    def _refuse(self, listener: Listener, opened: Open, error: Error) -> None:
        if opened.topic in listener.seats:
            self.leave(listener, opened.topic)
            self._say(listener, opened, error)

    def _told(
        self, listener: Listener, opened: Open, told: Subscribed, checksum: int | None
    ) -> None:
        if checksum is not None:
            told = msgspec.structs.replace(told, checksum=checksum)
        self._say(listener, opened, told)
        if told.epoch is not None:
            listener.position = Position(told.epoch, told.seq)

    def _say(self, listener: Listener, opened: Open, outcome: Subscribed | Error) -> None:
        said = listener.session.joined(opened, outcome, now_ms())
        if said is not None:
            listener.tell(said.frame)

    def _subscribed(
        self,
        opened: Open,
        *,
        seq: int,
        recovered: bool = False,
        reason: str | None = None,
        snapshot: dict[str, Any] | None = None,
    ) -> Subscribed:
        topic = opened.topic
        market = self.directory.find(topic.subject) if topic.stream in MARKET_STREAMS else None
        scale = (
            UNSET
            if market is None
            else Scale(market.address, market.symbol, market.quote.decimals, market.base.decimals)
        )
        return Subscribed(
            channel=name_of(topic, self.directory),
            recovered=recovered,
            reason=reason,
            epoch=self.epoch,
            seq=seq,
            conflate=opened.asked.conflate,
            market=scale,
            snapshot=UNSET if snapshot is None else snapshot,
        )
