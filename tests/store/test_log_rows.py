"""Logs are packed where they are read, arrive in Postgres so, and can be told from it again."""

from typing import Any

import msgspec
import pytest
from alembic import command
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import astuple
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

import abis
from indexer.domain.block import Block
from indexer.domain.log import Log
from indexer.domain.logs import Logs, MalformedLog, pack
from indexer.domain.units import Address, Hash
from indexer.store import log_rows, postgres, tables
from indexer.store.copy import columns
from indexer.store.log_rows import Packed, copied, logs_of
from indexer.store.rejected import RowRejected
from indexer.store.statements import Postgres
from migrations import history

BLOCK = Block(7, Hash("0x" + "07" * 32), Hash("0x" + "06" * 32), 0)
KNOWN, ABI = next(iter(abis.registry().items()))


def _hex(least: int, most: int) -> st.SearchStrategy[str]:
    return st.binary(min_size=least, max_size=most).map(lambda value: "0x" + value.hex())


def log(index: int = 0, data: str = "0x", topics: tuple[str, ...] = (KNOWN,)) -> Log:
    address = Address("0x" + "ab" * 20)
    tx = Hash("0x" + "cd" * 32)
    return Log(address, list(topics), data, BLOCK.hash, "0x7", tx, hex(index))


LOGS = st.lists(
    st.builds(
        Log,
        address=_hex(20, 20).map(Address),
        topics=st.lists(_hex(32, 32) | st.just(KNOWN), max_size=4),
        data=_hex(0, 200),
        block_hash=st.just(BLOCK.hash),
        block_number=st.just("0x7"),
        transaction_hash=_hex(32, 32).map(Hash),
        log_index=st.integers(0, 2**31 - 1).map(hex),
    ),
    max_size=5,
    unique_by=lambda log: log.index,
).map(lambda logs: sorted(logs, key=lambda log: log.index))

FEW = [
    log(0, "0x" + "11" * 64, (KNOWN, BLOCK.hash)),
    log(1, topics=()),
    log(5, "0x22", (BLOCK.hash, BLOCK.hash, KNOWN)),
    log(6, "0x33"),
]
"""One without topics, one that no ABI knows."""


def few(number: int) -> Logs:
    return pack(msgspec.structs.replace(BLOCK, number=number), FEW)


@given(LOGS)
def test_what_is_packed_can_be_told_again(logs: list[Log]) -> None:
    """From what a COPY takes, too, and from the record."""
    packed = pack(BLOCK, logs)
    assert list(packed) == logs
    rows = Packed()
    rows.add(copied(packed), len(logs))
    assert rows.events == len(logs)
    some = [packed] if logs else []
    assert list(rows) == list(map(log_rows.row, some))
    assert [logs_of(BLOCK, msgspec.structs.asdict(row)) for row in rows] == some


def test_the_columns_are_the_tables() -> None:
    assert columns(tables.logs) == log_rows.COLUMNS


async def rows_of_events(connection: postgres.Connection) -> list[tuple[Any, ...]]:
    found = await connection.fetch("select * from tidebook.events order by 1, log_index")
    return [tuple(row) for row in found]


def as_events(number: int, logs: list[Log]) -> list[tuple[Any, ...]]:
    names = {KNOWN: ABI.name}
    return [
        (
            number,
            one.index,
            one.transaction_hash,
            one.address,
            names.get(one.topics[0]) if one.topics else None,
            "0x" + "".join(topic[2:] for topic in one.topics),
            one.data,
        )
        for one in logs
    ]


async def test_rows_arrive_by_copy_and_as_arrays_and_are_a_view(database_url: str) -> None:
    packed = Packed()
    for number in (7, 8):
        packed.add(copied(few(number)), len(FEW))
    connection = await postgres.connect(database_url)
    database = Postgres(connection)
    await database.append(tables.logs, packed)
    async with database.transaction():
        await database.append(tables.logs, [log_rows.row(few(9))])
    stored = await connection.fetch("select * from tidebook.logs order by block_number")
    expected = [log_rows.row(few(number)) for number in (7, 8, 9)]
    assert [tuple(row) for row in stored] == [astuple(row) for row in expected]
    assert [list(logs_of(BLOCK, row)) for row in stored] == [FEW] * 3
    assert [row["unknown"] for row in stored] == [2] * 3
    events = await rows_of_events(connection)
    assert events == [one for number in (7, 8, 9) for one in as_events(number, FEW)]
    await connection.close()


async def test_a_row_that_is_rejected_is_told_by_its_origin(database_url: str) -> None:
    packed = Packed()
    for number in (6, 7, 7):
        packed.add(copied(few(number)), len(FEW))
    connection = await postgres.connect(database_url)
    with pytest.raises(RowRejected, match="block 7, log 0 to 6, tx 0xcdcd"):
        await Postgres(connection).append(tables.logs, packed)
    await connection.close()


@pytest.mark.parametrize(
    "bad",
    [
        msgspec.structs.replace(log(3), data="0xzz"),
        msgspec.structs.replace(log(3), data="0xabc"),
        msgspec.structs.replace(log(3), data="0x1 2 "),
        msgspec.structs.replace(log(3), data="0x0x12"),
        msgspec.structs.replace(log(3), topics=[KNOWN + "00"]),
        msgspec.structs.replace(log(3), topics=[KNOWN, KNOWN[:-2]]),
        msgspec.structs.replace(log(3), address=Address("0xabab" + "z" * 36)),
        msgspec.structs.replace(log(3), transaction_hash=Hash("0xoh")),
        msgspec.structs.replace(log(3), log_index="0x100000000"),
        msgspec.structs.replace(log(3), log_index="0x2"),
    ],
)
def test_what_is_not_hex_or_in_order_is_refused_where_it_is_read(bad: Log) -> None:
    with pytest.raises(MalformedLog, match=rf"block 7 .* log {bad.log_index}, contract 0xabab"):
        pack(BLOCK, [log(2), bad, log(4)])


async def test_a_migration_keeps_every_log(database_url: str) -> None:
    """And back, and there again."""

    def move(connection: Connection, revision: str) -> None:
        way = command.downgrade if revision == "0015" else command.upgrade
        way(history.configuration(connection), revision)

    connection = await postgres.connect(database_url)
    rows = [log_rows.row(few(number)) for number in (7, 8)]
    database = Postgres(connection)
    async with database.transaction():
        await database.append(tables.logs, rows)
    engine = create_async_engine(database_url.replace("postgresql:", "postgresql+asyncpg:", 1))
    for revision in ("0015", "0016"):
        async with engine.begin() as other:
            await other.run_sync(move, revision)
        assert await rows_of_events(connection) == as_events(7, FEW) + as_events(8, FEW)
    await engine.dispose()
    stored = await connection.fetch("select * from tidebook.logs order by 1")
    assert [list(logs_of(BLOCK, row)) for row in stored] == [FEW] * 2
    assert [row["unknown"] for row in stored] == [2] * 2
    await connection.close()
