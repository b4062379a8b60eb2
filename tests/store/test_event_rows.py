"""Logs packed where they are read arrive in Postgres as records would, and bad ones name theirs."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import astuple

import abis
from indexer.decode import MalformedLog
from indexer.domain.block import Block
from indexer.domain.log import Log
from indexer.domain.units import Address, Hash
from indexer.store import postgres, tables
from indexer.store.copy import columns
from indexer.store.event_rows import COLUMNS, Packed, event_row, pack
from indexer.store.rejected import RowRejected
from indexer.store.statements import Postgres

BLOCK = Block(7, Hash("0x" + "07" * 32), Hash("0x" + "06" * 32), 0)
KNOWN = next(iter(abis.registry()))


def _hex(least: int, most: int) -> st.SearchStrategy[str]:
    return st.binary(min_size=least, max_size=most).map(lambda value: "0x" + value.hex())


def log(index: int = 0, data: str = "0x", topics: tuple[str, ...] = (KNOWN,)) -> Log:
    address = Address("0x" + "ab" * 20)
    tx = Hash("0x" + "cd" * 32)
    return Log(address, list(topics), data, BLOCK.hash, "0x7", tx, hex(index))


LOGS = st.builds(
    Log,
    address=_hex(20, 20).map(Address),
    topics=st.lists(_hex(32, 32) | st.just(KNOWN), max_size=4),
    data=_hex(0, 200),
    block_hash=st.just(BLOCK.hash),
    block_number=st.just("0x7"),
    transaction_hash=_hex(32, 32).map(Hash),
    log_index=st.integers(0, 2**31 - 1).map(hex),
)


@given(st.lists(LOGS, max_size=5))
def test_what_is_packed_is_what_a_record_says(logs: list[Log]) -> None:
    packed = Packed()
    packed.add(pack(BLOCK, logs), len(logs))
    assert list(packed) == [event_row(BLOCK.number, one) for one in logs]


def test_the_columns_are_the_tables() -> None:
    assert columns(tables.events) == COLUMNS


async def test_packed_rows_arrive(database_url: str) -> None:
    logs = [log(0, "0x" + "11" * 64), log(1, topics=()), log(2, "0x", (BLOCK.hash, BLOCK.hash))]
    packed = Packed()
    for one in logs:
        packed.add(pack(BLOCK, [one]), 1)
    connection = await postgres.connect(database_url)
    await Postgres(connection).append(tables.events, packed)
    stored = await connection.fetch("select * from tidebook.events order by log_index")
    assert [tuple(row) for row in stored] == [astuple(event_row(7, one)) for one in logs]
    await connection.close()


async def test_a_row_that_is_rejected_is_told_by_its_origin(database_url: str) -> None:
    packed = Packed()
    for index in (4, 5, 5):
        packed.add(pack(BLOCK, [log(index)]), 1)
    connection = await postgres.connect(database_url)
    with pytest.raises(RowRejected, match="block 7, log 5, tx 0xcdcd"):
        await Postgres(connection).append(tables.events, packed)
    await connection.close()


@pytest.mark.parametrize(
    "bad",
    [
        msgspec.structs.replace(log(3), data="0xzz"),
        msgspec.structs.replace(log(3), data="0xabc"),
        msgspec.structs.replace(log(3), data="0x1 2 "),
        msgspec.structs.replace(log(3), topics=[KNOWN + "00"]),
        msgspec.structs.replace(log(3), address=Address("0xabab" + "z" * 36)),
        msgspec.structs.replace(log(3), transaction_hash=Hash("0xoh")),
        msgspec.structs.replace(log(3), log_index="0x100000000"),
    ],
)
def test_what_is_not_hex_is_refused_where_it_is_read(bad: Log) -> None:
    with pytest.raises(MalformedLog, match=r"block 7 .* contract 0xabab"):
        pack(BLOCK, [log(2), bad, log(4)])
