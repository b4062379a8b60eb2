"""Where the feed of one process stands: its position, its books, each channel's newest link."""

from collections import Counter

import msgspec

from indexer.domain.units import Address
from indexer.topics import Topic
from indexer.wire import Message
from ws.native.audience import Audience
from ws.native.book import Book
from ws.native.messages import Position, say
from ws.native.past import Head, Past, Unavailable
from ws.native.telling import now_ms


class Feed:
    """`epoch` and `seq` say what has been published."""

    def __init__(self) -> None:
        self.epoch: str | None = None
        self.seq = 0
        self.head: Head | None = None
        """Where the writer stood when last asked."""
        self.links: dict[Topic, int] = {}
        """Newest link of each channel that somebody has."""
        self.begun: Counter[str] = Counter()
        """Channels begun so far: recovered, or why not."""
        self._books: dict[Address, Book] = {}
        self._depth_links: dict[Address, int] = {}
        self._books_epoch: str | None = None
        self._books_seq = 0

    @property
    def has_books(self) -> bool:
        """Whether our books are of the history that we read."""
        return self._books_epoch is not None and self._books_epoch == self.epoch

    @property
    def books_seq(self) -> int:
        """Where the books stand: at the feed's position, or ahead of it just after a load."""
        return max(self.seq, self._books_seq)

    async def load_books(self, past: Past) -> None:
        """Read all books. If Postgres is away there are none to be had."""
        try:
            head, books = await past.books()
        except Unavailable:
            self._books_epoch = None
            return
        self.head = head
        self._books = {market: book for market, (_, book) in books.items()}
        self._depth_links = {market: link for market, (link, _) in books.items()}
        self._books_epoch, self._books_seq = head.epoch, head.seq
        self.epoch = self.epoch or head.epoch
        self.seq = max(self.seq, head.seq)

    def begin_anew(self) -> None:
        """Another history begins: nothing is published of it yet."""
        self.epoch, self.seq = None, 0

    def book(self, market: Address) -> Book:
        return self._books.get(market) or Book()

    def depth_link(self, market: Address) -> int:
        """The newest change that a market's book holds."""
        return self._depth_links.get(market, 0)

    def keep(self, message: Message) -> None:
        """Bring a book up to a message of `depth`."""
        if not self.has_books or message.seq <= self._books_seq:
            return  # it is ahead of the feed
        market = Address(message.market or "")
        if message.op == "snapshot" or market not in self._books:
            self._books[market] = Book()
        self._depth_links[market] = message.seq
        self._books[market].apply(message.data)

    def as_change(self, message: Message) -> Message:
        """A book's snapshot as what changes our book into it, if ours is the one before."""
        if message.op != "snapshot" or not self.has_books or message.seq <= self._books_seq:
            return message
        book, data = self.book(Address(message.market or "")), {}
        for name, side in (("bids", book.bids), ("asks", book.asks)):
            kept = {level[0] for level in message.data[name]}
            gone = [(price, "0", 0) for price, _, _ in side.top() if price not in kept]
            data[name] = [*message.data[name], *gone]
        return msgspec.structs.replace(message, op="apply", data=data)

    def checksum(self, topic: Topic, seq: int) -> int | None:
        """That of the book behind its newest message, which has this seq; None if it is ahead."""
        if topic.stream != "depth" or not self.has_books or seq <= self._books_seq:
            return None
        return self.book(Address(topic.subject)).checksum()

    def flush(self, audience: Audience) -> None:
        """Close an audience's window: what it has gathered is told as one."""
        newest = audience.pending.newest
        if newest is None:
            return
        event = audience.pending.take(audience.name, self.checksum(audience.topic, newest.seq))
        assert event is not None, "something was pending"
        audience.publish(Position(newest.epoch, newest.seq), say(event, now_ms()))
