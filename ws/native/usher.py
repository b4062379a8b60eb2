"""Brings a listener to its seat: with a snapshot, or with what it has missed, and nothing lost.

A replay is read without holding anybody up; what comes meanwhile waits in the listener's seat.
Snapshots of books come out of memory, where they stand exactly at the feed's position.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from msgspec import UNSET

from indexer.domain.listing import Directory
from indexer.domain.units import Address
from indexer.topics import MARKET_STREAMS, Topic, topic_of
from indexer.wire import Message
from ws.native.audience import Listener
from ws.native.book import Book
from ws.native.feed import Feed
from ws.native.messages import Error, Position, Scale, Subscribed, say
from ws.native.past import Past, Replay, Unavailable
from ws.native.session import Open
from ws.native.telling import event_of, now_ms
from ws.native.topics import name_of
from ws.outlet import text_frame

_log = logging.getLogger("tidebook.ws")

RECOVERIES = 8
"""Subscriptions looked up in Postgres and Redis at once."""
DRAIN_BYTES = 64 * 1024
"""Bytes of a replay written before the client has to take some."""


class Begin(NamedTuple):
    """Where a replay begins, and the book there if it begins with one."""

    seq: int
    book: Book | None = None


class Usher:
    """Every `Open` that reaches `seat` ends in one `subscribed` or one `error`."""

    def __init__(
        self, feed: Feed, past: Past, directory: Directory, leave: Callable[[Listener, Topic], None]
    ) -> None:
        self._feed = feed
        self._past = past
        self._directory = directory
        self._leave = leave
        self._recovering = asyncio.Semaphore(RECOVERIES)
        self._tasks: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def seat(self, listener: Listener, opened: Open, reason: str | None = None) -> None:
        """Tell a listener what came before. With a `reason`, a snapshot whatever it asked for."""
        asked = opened.asked
        resumes = asked.from_position is not None or asked.from_block is not None
        if opened.topic.stream == "depth" and (reason or not resumes):
            self._seat_at_book(listener, opened, reason or "fresh")
        else:
            self._spawn(self._recover(listener, opened, reason))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _seat_at_book(self, listener: Listener, opened: Open, reason: str) -> None:
        feed, topic = self._feed, opened.topic
        audience, seat = listener.seats[topic]
        if not feed.has_books:
            self._refuse(listener, opened, "the books cannot be read now")
            return
        feed.flush(audience)
        market = Address(topic.subject)
        book, link = feed.book(market), feed.depth_link(market)
        seat.floor = feed.books_seq
        self._tell_begin(listener, opened, link, reason=reason, book=book)
        self._settle(listener, opened)

    async def _recover(self, listener: Listener, opened: Open, reason: str | None) -> None:
        """Find what the listener lacks, tell it, and let what came meanwhile follow."""
        topic = opened.topic
        held = listener.seats[topic]
        replay: tuple[Begin, Replay] | str
        snapshot = None
        try:
            async with self._recovering:
                replay = reason or await self._missed(opened)
                if isinstance(replay, str) and topic.stream != "depth":
                    snapshot = await self._past.snapshot(topic)
        except Unavailable as unavailable:
            _log.debug("cannot read the past of %s: %s", topic.channel, unavailable)
            replay = "unavailable"  # why is the operator's, and may name servers
            if topic.stream != "depth":
                self._refuse(listener, opened, "the past cannot be read now")
                return
        if listener.seats.get(topic) != held:
            return  # it has left, or asked anew
        if not isinstance(replay, str):
            await self._replay(listener, opened, *replay)
        elif snapshot is None:
            self._seat_at_book(listener, opened, replay)
        else:
            held[1].floor = snapshot.seq
            self._tell_begin(listener, opened, snapshot.link, reason=replay, snapshot=snapshot.data)
            self._settle(listener, opened)

    async def _missed(self, opened: Open) -> tuple[Begin, Replay] | str:
        """All since the position or block that was asked for; a word if that cannot be told."""
        topic, position, number = opened.topic, opened.asked.from_position, opened.asked.from_block
        epoch = self._feed.epoch
        if position is not None:
            if position.epoch != epoch:
                return "epoch_changed"
            begin = Begin(position.seq)
        elif number is not None:
            found = await self._past.since_block(topic, number)
            if isinstance(found, str):
                return found
            seq, snapshot = found
            book = Book(snapshot.data["bids"], snapshot.data["asks"]) if snapshot else None
            begin = Begin(seq, book)
        else:
            return "fresh"
        if epoch is None:
            return "unavailable"
        replay = await self._past.since(topic, epoch, begin.seq, self._feed.seq)
        return replay if isinstance(replay, str) else (begin, replay)

    async def _replay(self, listener: Listener, opened: Open, begin: Begin, replay: Replay) -> None:
        """Tell a past that is whole; a long one no faster than the client takes it."""
        topic = opened.topic
        audience, seat = held = listener.seats[topic]
        book = begin.book
        self._tell_begin(listener, opened, begin.seq, book=book)
        unread = 0
        for message in replay.messages:
            is_link = topic_of(message) == topic
            if is_link:
                seat.link = message.seq
                book = _moved(book, message)
            checksum = book.checksum() if book and is_link else None
            prev_seq = message.prev_seq if is_link else None
            event = event_of(audience.name, message, checksum, prev_seq)
            frame = text_frame(say(event, now_ms()))
            if not listener.offer(frame, Position(message.epoch, message.seq)):
                return
            unread += len(frame)
            if unread > min(DRAIN_BYTES, listener.client.limit // 4):
                unread = 0
                await asyncio.sleep(0)
                await listener.client.outlet.drained()
                if listener.seats.get(topic) != held:
                    return
        seat.floor = replay.seq
        self._settle(listener, opened)

    def _settle(self, listener: Listener, opened: Open) -> None:
        if opened.topic in listener.seats:
            audience, seat = listener.seats[opened.topic]
            audience.settle(listener, seat, self._feed.epoch or "")

    def _refuse(self, listener: Listener, opened: Open, words: str) -> None:
        if opened.topic in listener.seats:
            self._leave(listener, opened.topic)
            self._say(listener, opened, Error("unavailable", words))

    def _tell_begin(
        self,
        listener: Listener,
        opened: Open,
        seq: int,
        *,
        reason: str | None = None,
        snapshot: dict[str, Any] | None = None,
        book: Book | None = None,
    ) -> None:
        """The channel begins at `seq`: recovered, unless a reason says why it is not."""
        epoch, topic = self._feed.epoch, opened.topic
        if book is not None:
            snapshot = dict(book.levels())
        told = Subscribed(
            channel=name_of(topic, self._directory),
            recovered=reason is None,
            reason=reason,
            epoch=epoch,
            seq=seq,
            conflate=opened.asked.conflate,
            market=scale_of(topic, self._directory) or UNSET,
            snapshot=UNSET if snapshot is None else snapshot,
            checksum=UNSET if book is None else book.checksum(),
        )
        _, seat = listener.seats[topic]
        seat.link = seq
        self._feed.begun[reason or "recovered"] += 1
        self._say(listener, opened, told)
        if epoch is not None:
            listener.position = Position(epoch, seq)

    def _say(self, listener: Listener, opened: Open, outcome: Subscribed | Error) -> None:
        said = listener.session.joined(opened, outcome, now_ms())
        if said is not None:
            listener.tell(said.frame)


def scale_of(topic: Topic, directory: Directory) -> Scale | None:
    """The market of a channel and its decimals, if it is about a market."""
    market = directory.find(topic.subject) if topic.stream in MARKET_STREAMS else None
    if market is None:
        return None
    return Scale(market.address, market.symbol, market.quote.decimals, market.base.decimals)


def _moved(book: Book | None, message: Message) -> Book | None:
    """A replayed book behind a message."""
    if book is None:
        return None
    if message.op == "snapshot":
        book = Book()
    book.apply(message.data)
    return book
