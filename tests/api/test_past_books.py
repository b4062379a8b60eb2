"""Past books are those of the fold, broken lists and all, on every block; and where they begin."""

import asyncio
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from msgspec.structs import asdict

from api import past_books
from api.errors import QueueLost
from indexer.chain.recording import Recording
from indexer.decode import decode, select
from indexer.domain.order import Side
from indexer.domain.units import Address
from indexer.mirror import whole
from indexer.mirror.book import Book
from indexer.mirror.fold import Mirror
from indexer.store import books
from indexer.store.snapshot import Snapshot, connect
from tests.indexed import index
from tidebook import embedded

CHAOS = "gtx_chaos.jsonl.gz"
STEP = 7
"""Every so many blocks are asked about."""
EVERY_ORDERS = 16
SIDES: tuple[Side, Side] = ("buy", "sell")


def folded(recording: Recording) -> Iterator[tuple[int, Mirror]]:
    """The fold as it is after every block."""
    deployment = recording.deployment
    tokens = [t for a in deployment.tokens if (t := deployment.token(a)) is not None]
    mirror = Mirror(deployment)
    for one in recording.blocks():
        logs = select(one.logs, deployment, mirror.books)
        mirror.apply(one.block, decode(one.block, logs), tokens, final=True)
        yield one.block.number, mirror


def levels_of(book: Book, side: Side) -> list[tuple[int, int, int]]:
    return [(one.price, one.quantity, one.order_count) for one in book.depth(side)]


def queues_of(book: Book, side: Side) -> list[tuple[int, int]]:
    return [
        (order.order_id, order.remaining)
        for level in book.depth(side)
        for order in book.queue(side, level.price)
    ]


@pytest.fixture(scope="module")
def chaos(servers: embedded.Urls, recordings: Path) -> Any:
    """The recording of the most broken lists, indexed with whole books in short distances."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(whole, "EVERY_ORDERS", EVERY_ORDERS)
        return asyncio.run(index(servers.database_url, Recording(recordings / CHAOS)))


async def test_every_past_book_is_the_fold_s(chaos: str, recordings: Path) -> None:
    pool = connect(chaos, 1, 1.0)
    snapshot = Snapshot(pool)
    begun: set[int] = set()
    broken = 0
    for number, mirror in folded(Recording(recordings / CHAOS)):
        if number % STEP:
            continue
        found = await books.books_at(snapshot, list(mirror.books), number)
        for market, book in mirror.books.items():
            broken += any(one.broken and one.quantity for one in book.levels.rows.values())
            for side in SIDES:
                then = found[market].depth(side)
                assert [tuple(asdict(one).values())[:3] for one in then] == levels_of(book, side)
                begun |= {one.updated_block for one in then}
                queued = await past_books.queued_at(
                    snapshot, market, found[market], side, number, 1000
                )
                told = [(order.order_id, order.remaining) for order in queued]
                assert told == queues_of(book, side), (number, market, side)
    assert broken > 10, "a recording of broken lists"
    await snapshot.close()
    await pool.dispose()


async def test_books_of_a_database_from_before_are_made_from_its_changes(chaos: str) -> None:
    """The migration's way and the writer's lead to the same rows."""
    connection: Any = await asyncpg.connect(chaos)
    read = "select market, block_number, bids, asks from tidebook.books order by 1, 2"
    written = await connection.fetch(read)
    assert len(written) > 10
    fill = import_module("migrations.versions.0012_whole_books").FILL
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("truncate tidebook.books")
    await connection.execute(fill.replace("256", str(EVERY_ORDERS)))
    assert await connection.fetch(read) == written
    await transaction.rollback()
    await connection.close()


async def test_a_queue_that_was_not_kept_is_told_so(chaos: str) -> None:
    connection: Any = await asyncpg.connect(chaos)
    lost = await connection.fetch(
        "select '0x' || encode(q.market, 'hex') as market, q.block_number from tidebook.queues q"
        "  join tidebook.level_changes c using (market, side, price, block_number)"
        " where c.order_count > 0"
    )
    await connection.execute("create table kept_queues as select * from tidebook.queues")
    await connection.execute("delete from tidebook.queues")
    pool = connect(chaos, 1, 1.0)
    snapshot = Snapshot(pool)
    told: list[QueueLost] = []
    for market, number in map(tuple, lost):
        book = await books.book_at(snapshot, Address(market), number)
        for side in SIDES:
            try:
                await past_books.queued_at(snapshot, Address(market), book, side, number, 1000)
            except QueueLost as error:
                told.append(error)
    assert {one.formatted["extensions"]["code"] for one in told} == {"BEYOND_RETENTION"}
    await snapshot.close()
    await pool.dispose()
    await connection.execute("insert into tidebook.queues select * from kept_queues")
    await connection.execute("drop table kept_queues")
    await connection.close()
