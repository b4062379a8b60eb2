"""analytics_tops, kept: depth messages folded into rows, each batch committed with its position.

A message applied twice is skipped by its seq, one that was missed is seen by its `prev_seq`, a
retracted one deletes its row and sets the levels back. Whatever does not fit ends in `rebuild`,
which makes the same rows from the facts. So a kill, a resend and a rebuild all end equal.
"""

import json
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from analytics import limits
from analytics.books import BookState, LevelRow, TopRow, fold_levels
from analytics.micro import Top
from indexer.domain.order import Side
from indexer.domain.units import Address
from indexer.store.errors import NothingIndexed
from indexer.store.postgres import Connection
from indexer.wire import Message

LOCK = "tidebook analytics"
Progress = Callable[[int, int], None]
"""Called with markets done and markets there are."""
_SIDES: tuple[tuple[str, Side], ...] = (("bids", "buy"), ("asks", "sell"))


class Misfit(Exception):
    """The messages do not continue what is stored: rebuild."""


class AlreadyKept(Exception):
    """Another process keeps the tables of this database."""

    def __init__(self) -> None:
        super().__init__("another `tidebook analytics` keeps these tables: stop it first")


class Keeper:
    """The one process that writes the tables. Its books stand where the cursor stands."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._books: dict[Address, BookState] = {}
        self._tops: dict[Address, Top] = {}
        """The newest row's, by market."""
        self.epoch = ""
        self.seq = 0

    async def try_lock(self) -> bool:
        """Be the keeper for as long as the connection lives."""
        return bool(
            await self._connection.fetchval(
                "select pg_try_advisory_lock(hashtext(current_database() || $1))", LOCK
            )
        )

    async def load(self, progress: Progress | None = None) -> None:
        """Stand where the tables stand; rebuild them where they fit no longer."""
        async with self._connection.transaction(isolation="repeatable_read"):
            row = await self._connection.fetchrow(_POSITION)
            fits = row is not None and row["epoch"] == row["now"] and row["canonical"]
            if row is not None and fits:
                self.epoch, self.seq = row["epoch"], row["seq"]
                await self._load_books()
        if not fits:
            await self.rebuild(progress)

    async def _load_books(self) -> None:
        """Each market's book as of its newest row."""
        self._books, self._tops = await self._empty_books(), {}
        for row in await self._connection.fetch(_LEVELS_AT_LAST_ROW):
            self._books[row["market"]].set(row["side"], row["price"], row["quantity"])
        for row in await self._connection.fetch(_LAST_TOPS):
            self._tops[row["market"]] = Top(*tuple(row)[1:])

    async def _empty_books(self) -> dict[Address, BookState]:
        rows = await self._connection.fetch(_MARKETS)
        return {row["address"]: BookState(row["address"], 10 ** row["decimals"]) for row in rows}

    async def rebuild(self, progress: Progress | None = None) -> None:
        """All rows from the facts, and the position those facts are of, in one transaction."""
        async with self._connection.transaction(isolation="repeatable_read"):
            position = await self._connection.fetchrow(_WRITER)
            if position is None:
                raise NothingIndexed
            await self._connection.execute("delete from tidebook.analytics_tops")
            books, tops = await self._empty_books(), {}
            for done, (market, book) in enumerate(books.items()):
                if progress is not None:
                    progress(done, len(books))
                async for rows in self._fold(book):
                    await self._insert(rows)
                    if rows:
                        tops[market] = rows[-1].top
            await self._connection.execute(_SET_CURSOR, *tuple(position))
            if progress is not None:
                progress(len(books), len(books))
        self._books, self._tops = books, tops
        self.epoch, self.seq = position["epoch"], position["seq"]

    async def _fold(self, book: BookState) -> AsyncIterator[list[TopRow]]:
        """A page at a time: of a long past neither memory nor who asks meanwhile is to notice."""
        changes = await self._connection.cursor(_LEVEL_CHANGES, book.market)
        held: list[LevelRow] = []
        before: Top | None = None
        while page := await changes.fetch(limits.REBUILT_CHANGES):
            held += (LevelRow(*tuple(row)) for row in page)
            newest = held[-1].block_number  # which may go on in the next page
            whole = bisect_left(held, newest, key=lambda row: row.block_number)
            rows = list(fold_levels(book, held[:whole], before))
            held = held[whole:]
            before = rows[-1].top if rows else before
            yield rows
        yield list(fold_levels(book, held, before))

    async def apply(self, messages: Sequence[Message]) -> None:
        """Fold messages of the depth stream, oldest first. Raises Misfit, and then writes nothing.

        After any error the books are to be loaded again.
        """
        if any(one.epoch != self.epoch for one in messages):
            if await self._connection.fetchval(_EPOCH) != self.epoch:
                raise Misfit("another epoch has begun")
            messages = [one for one in messages if one.epoch == self.epoch]  # the rest is history
        fresh = [one for one in messages if one.seq > self.seq]
        if not fresh:
            return
        seq = self.seq
        async with self._connection.transaction():
            for message in fresh:
                if message.prev_seq > seq:
                    raise Misfit(f"message {message.prev_seq} is missing")
                await self._one(message)
                seq = message.seq
            await self._connection.execute(_SET_SEQ, seq)
            folded = [one.block for one in fresh if one.op != "promote"]
            if folded:  # a promoted block is an older one: we stand further
                block = folded[-1]
                values = (self.epoch, seq, block.number, block.hash)
                await self._connection.execute(_SET_CURSOR, *values)
        self.seq = seq

    async def _one(self, message: Message) -> None:
        if message.op == "promote":
            return  # says nothing of a book
        market = message.market
        if message.op == "snapshot":
            raise Misfit("a snapshot of what was not told")
        assert market is not None, "a depth message without a market"
        if market not in self._books:
            self._books |= {
                address: book
                for address, book in (await self._empty_books()).items()
                if address not in self._books
            }
        match message.op:
            case "apply":
                if self._set(self._books[market], message.data):
                    number, timestamp = message.block.number, message.block.timestamp
                    row = self._books[market].row(number, timestamp, self._tops.get(market))
                    await self._insert([row])
                    self._tops[market] = row.top
            case "retract":
                self._set(self._books[market], message.data)
                await self._connection.execute(_DELETE, market, message.block.number)
                last = await self._connection.fetchrow(_LAST_TOP, market)
                self._tops.pop(market, None)
                if last is not None:
                    self._tops[market] = Top(*tuple(last))
            case _:
                raise Misfit(f"a {message.op} of what was not told")

    def _set(self, book: BookState, data: dict[str, Any]) -> bool:
        news = [
            book.set(side, int(price), int(quantity))
            for key, side in _SIDES
            for price, quantity, _ in data[key]
        ]
        return any(news)

    async def _insert(self, rows: Sequence[TopRow]) -> None:
        if not rows:
            return
        columns = zip(*rows, strict=True)
        market, number, timestamp, *numbers, bids, asks, flow = map(list, columns)
        await self._connection.execute(
            _INSERT,
            *(market, number, timestamp, *map(_texts, numbers)),
            *(list(map(json.dumps, bids)), list(map(json.dumps, asks)), _texts(flow)),
        )


def _texts(numbers: Sequence[int | None]) -> list[str | None]:
    """What a codec would make of each, but in one go."""
    return [None if number is None else str(number) for number in numbers]


_POSITION = """
select a.epoch, a.seq, c.epoch as now,
       exists(
         select from tidebook.blocks b where b.hash = a.block_hash and b.canonical
       ) as canonical
  from tidebook.analytics_cursor a, tidebook.cursors c
"""

_EPOCH = "select epoch from tidebook.cursors"

_WRITER = "select epoch, seq, block_number, block_hash from tidebook.cursors"

_SET_CURSOR = """
insert into tidebook.analytics_cursor (one, epoch, seq, block_number, block_hash)
values (true, $1, $2, $3, $4)
on conflict (one) do update
   set epoch = $1, seq = $2, block_number = $3, block_hash = $4
"""

_SET_SEQ = "update tidebook.analytics_cursor set seq = $1"

_MARKETS = """
select m.address, t.decimals
  from tidebook.markets m join tidebook.tokens t on t.address = m.base
 order by m.created_block, m.created_log_index
"""

_LEVEL_CHANGES = """
select l.block_number, b.timestamp, l.side, l.price, l.quantity
  from tidebook.level_changes l
  join tidebook.blocks b on b.number = l.block_number and b.canonical
 where l.market = $1
 order by l.block_number
"""

_LEVELS_AT_LAST_ROW = """
select distinct on (l.market, l.side, l.price) l.market, l.side, l.price, l.quantity
  from tidebook.level_changes l
  join (select market, max(block_number) as last from tidebook.analytics_tops group by market) t
    on t.market = l.market and l.block_number <= t.last
 order by l.market, l.side, l.price, l.block_number desc
"""

_LAST_TOPS = """
select distinct on (market) market, bid, bid_quantity, ask, ask_quantity
  from tidebook.analytics_tops order by market, block_number desc
"""

_LAST_TOP = """
select bid, bid_quantity, ask, ask_quantity
  from tidebook.analytics_tops where market = $1 order by block_number desc limit 1
"""

_DELETE = "delete from tidebook.analytics_tops where market = $1 and block_number = $2"

_INSERT = """
insert into tidebook.analytics_tops
select * from unnest(
  $1::bytea[], $2::bigint[], $3::bigint[], $4::text[]::numeric[], $5::text[]::numeric[],
  $6::text[]::numeric[], $7::text[]::numeric[], $8::text[]::jsonb[], $9::text[]::jsonb[],
  $10::text[]::numeric[]
)
"""
