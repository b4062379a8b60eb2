"""What the live feed reads besides its tail: snapshots, and messages that went by.

Every read of Postgres is one repeatable-read transaction, so the state and the position it stands
at belong together. Positions are the writer's: Redis, and so our tail, may be a little behind them.
"""

import contextlib
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec
import redis.asyncio as redis
from redis.exceptions import RedisError
from sqlalchemy import column, func, select, true
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from indexer.domain.units import Address
from indexer.store import books
from indexer.store import relations as t
from indexer.store.columns import Hex
from indexer.store.links import BEHIND, behind
from indexer.topics import Topic, concerns, topic_of
from indexer.wire import Message, relay_key, stream_key
from ws.native.book import Book
from ws.native.snapshots import read_items

FATE_BLOCKS = 1_000
"""How far back a tx is looked for, in blocks: no index names txs."""

_decode = msgspec.json.Decoder(Message).decode
UNREACHABLE = (SQLAlchemyError, OSError, TimeoutError)


class Unavailable(Exception):
    """Neither Postgres nor Redis can tell. The message says which and why."""


class Head(NamedTuple):
    """Where the writer stands."""

    epoch: str
    seq: int
    head: int | None
    safe: int | None
    finalized: int | None


class Snapshot(NamedTuple):
    """A channel's state as of `seq`; `link` is the newest of its messages therein."""

    epoch: str
    seq: int
    link: int
    data: dict[str, Any]


class Replay(NamedTuple):
    """All messages of a topic up to `seq`, the first of which follows what was asked for."""

    seq: int
    messages: list[Message]


class Fate(NamedTuple):
    tx: str
    block: int
    finality: str


class Past:
    """Postgres and Redis, read only."""

    def __init__(
        self, engine: AsyncEngine, streams: "redis.Redis", chain_id: int, most: int
    ) -> None:
        self._engine = engine
        self._redis = streams
        self._chain_id = chain_id
        self._most = most

    async def head(self) -> Head:
        """Raises Unavailable."""
        async with _Reading(self._engine) as connection:
            return await _head(connection)

    async def books(self) -> tuple[Head, dict[Address, tuple[int, Book]]]:
        """Every market's book with its newest link, as of the head. Raises Unavailable."""
        level, links = t.levels.c, {}
        async with _Reading(self._engine) as connection:
            head = await _head(connection)
            rows = await connection.execute(
                select(t.channels).where(t.channels.c.channel.startswith("depth:"))
            )
            for channel, seq in rows:
                links[channel.removeprefix("depth:")] = seq
            books = {Address(market): (link, Book()) for market, link in links.items()}
            statement = select(
                level.market, level.side, level.price, level.quantity, level.order_count
            ).where(level.quantity > 0)
            for market, side, price, quantity, count in await connection.execute(statement):
                _, book = books.setdefault(Address(market), (0, Book()))
                one = book.bids if side == "buy" else book.asks
                one.set(str(price), str(quantity), count)
        return head, books

    async def snapshot(self, topic: Topic) -> Snapshot:
        """A channel's state at the head. Raises Unavailable."""
        async with _Reading(self._engine) as connection:
            head = await _head(connection)
            link = await _link(connection, topic)
            return Snapshot(head.epoch, head.seq, link, await read_items(connection, topic))

    async def since(self, topic: Topic, epoch: str, seq: int, newest: int) -> Replay | str:
        """What came after a position; or why that cannot be told whole. Raises Unavailable.

        `newest` is the seq our tail stands at: what lies beyond, Redis cannot vouch for.
        """
        if seq <= newest:
            with contextlib.suppress(RedisError, OSError):
                if found := await self._since_in_redis(topic, epoch, seq, newest):
                    return found
        return await self._since_in_outbox(topic, epoch, seq)

    async def since_block(self, topic: Topic, number: int) -> tuple[int, Snapshot | None] | str:
        """The position before a block, with the book as it was there. Raises Unavailable.

        It is that of the last message about an earlier block: so nothing of a branch that was
        retracted meanwhile follows it.
        """
        outbox = t.outbox.c
        async with _Reading(self._engine) as connection:
            head = await _head(connection)
            oldest = await connection.scalar(select(func.min(outbox.first_seq)))
            before = await connection.scalar(
                select(outbox.seq)
                .where(
                    outbox.seq <= await _last_word(connection, head, number),
                    outbox.block_number < number,
                    outbox.op != "promote",
                )
                .order_by(outbox.seq.desc())
                .limit(1)
            )
            if before is None:
                if oldest != 1:
                    return "not_retained"
                before = 0
            if topic.stream != "depth":
                return before, None
            book = await _book_before(connection, topic, number)
            return before, Snapshot(head.epoch, before, before, dict(book.levels()))

    async def fates(self, txs: list[str]) -> list[Fate]:
        """Where these txs are, of those we have. Raises Unavailable."""
        logs, block = t.logs.c, t.blocks.c
        its = func.unnest(logs.txs).table_valued(column("tx", Hex), name="its").render_derived()
        async with _Reading(self._engine) as connection:
            head = await _head(connection)
            statement = (
                select(its.c.tx, block.number, block.finality)
                .select_from(
                    t.logs.join(its, true()).join(t.blocks, block.number == logs.block_number)
                )
                .where(
                    block.canonical,
                    logs.block_number > (head.head or 0) - FATE_BLOCKS,
                    logs.txs.overlap(txs),
                    its.c.tx.in_(txs),
                )
            )
            fates = [Fate(*tuple(row)) for row in await connection.execute(statement)]
        levels = (("finalized", head.finalized), ("safe", head.safe))
        return [_matured(fate, levels) for fate in fates]

    async def _since_in_redis(
        self, topic: Topic, epoch: str, seq: int, newest: int
    ) -> Replay | None:
        """None if Redis does not hold it whole.

        It may have been emptied and stand before what our tail has read: then what lies between
        would be told by neither. The relay's position moves with the entries.
        """
        key = stream_key(self._chain_id, topic.stream)
        keys = dict.fromkeys((key, stream_key(self._chain_id, "system")))
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hget(relay_key(self._chain_id), "seq")
            pipe.xrange(key, count=1)
            for one in keys:
                pipe.xrange(one, min=f"({seq}-0", count=self._most + 1)
            (relayed, oldest, *ranges) = await pipe.execute()
        if int(relayed or 0) < newest or any(len(entries) > self._most for entries in ranges):
            return None
        messages = [_decode(fields[b"m"]) for entries in ranges for _, fields in entries]
        if any(message.epoch != epoch for message in messages):
            return None
        messages.sort(key=lambda message: message.seq)
        if _rebuilt(messages, topic):
            return None
        mine = [message for message in messages if concerns(message, topic)]
        links = [message for message in mine if topic_of(message) == topic]
        known = _seq(oldest[0][0]) <= seq if oldest else False
        if links[0].prev_seq > seq if links else not known:
            return None
        return Replay(max([seq, *(message.seq for message in messages)]), mine)

    async def _since_in_outbox(self, topic: Topic, epoch: str, seq: int) -> Replay | str:
        channels = {topic.channel, topic.stream, "system"}
        async with _Reading(self._engine) as connection:
            head = await _head(connection)
            if head.epoch != epoch:
                return "epoch_changed"
            if seq > head.seq:
                return "ahead"
            told = await behind(partial(_read_behind, connection), channels, seq, self._most)
            newest = await _link(connection, topic)
        if len(told) > self._most:
            return "too_far"
        messages = list(map(_decode, told))
        if _rebuilt(messages, topic):
            return "rebuilt"
        mine = [message for message in messages if concerns(message, topic)]
        links = [message for message in mine if topic_of(message) == topic]
        if links[0].prev_seq > seq if links else newest > seq:
            return "not_retained"
        return Replay(head.seq, mine)


class _Reading:
    """A repeatable-read transaction; what the server cannot do becomes Unavailable."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._connection = engine.connect()

    async def __aenter__(self) -> AsyncConnection:
        try:
            connection = await self._connection.__aenter__()
            await connection.execution_options(isolation_level="REPEATABLE READ")
        except UNREACHABLE as error:
            raise Unavailable(f"Postgres: {error}") from error
        return connection

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        try:
            await self._connection.__aexit__(kind, error, trace)
        except UNREACHABLE as lost:  # the transaction was read, or not, and cannot be ended
            error = error or lost
        if isinstance(error, UNREACHABLE):
            raise Unavailable(f"Postgres: {error}") from error


async def _read_behind(connection: AsyncConnection, values: dict[str, Any]) -> Sequence[Any]:
    return (await connection.execute(BEHIND, values)).all()


async def _head(connection: AsyncConnection) -> Head:
    cursor = t.cursors.c
    statement = select(
        cursor.epoch, cursor.seq, cursor.block_number, cursor.safe_number, cursor.finalized_number
    )
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        raise Unavailable("nothing is indexed yet")
    return Head(*tuple(row))


async def _link(connection: AsyncConnection, topic: Topic) -> int:
    channel = t.channels.c
    found = await connection.scalar(select(channel.seq).where(channel.channel == topic.channel))
    return found or 0


async def _last_word(connection: AsyncConnection, head: Head, number: int) -> int:
    """A seq behind which nothing is said of blocks before `number`.

    That one is final is said of it last. Where that is yet to come, few blocks have followed.
    """
    outbox = t.outbox.c
    if number - 1 > (head.finalized or 0):
        return head.seq
    final = await connection.scalar(
        select(outbox.seq)
        .where(outbox.block_number < number)
        .order_by(outbox.block_number.desc(), outbox.seq.desc())
        .limit(1)
    )
    return final or 0


async def _book_before(connection: AsyncConnection, topic: Topic, number: int) -> Book:
    market = Address(topic.subject)
    values = {"markets": [market], "at": number - 1}
    then = books.folded([market], await connection.execute(books.BOOKS, values))[market]
    book = Book()
    for one, levels in ((book.bids, then.bids), (book.asks, then.asks)):
        for level in levels.values():
            one.set(str(level.price), str(level.quantity), level.order_count)
    return book


def _matured(fate: Fate, levels: tuple[tuple[str, int | None], ...]) -> Fate:
    """A block is as final as the cursor says: its own row may not have been written again."""
    for finality, number in levels:
        if number is not None and fate.block <= number:
            return fate._replace(finality=finality)
    return fate


def _rebuilt(messages: list[Message], topic: Topic) -> bool:
    """Whether a backfill lies therein, which told nothing but books."""
    if topic.stream in ("depth", "system"):
        return False
    return any(one.stream == "system" and one.op == "snapshot" for one in messages)


def _seq(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[0])
