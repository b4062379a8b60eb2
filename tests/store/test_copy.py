"""Rows as COPY writes them come back as they were, whatever a chain says."""

import re
from io import BytesIO
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from msgspec.structs import asdict, astuple

from indexer.bundle import Bundle
from indexer.domain.balance import Balance
from indexer.domain.block import Finality
from indexer.domain.change import Deltas, OrderChange, OrderChangeKind
from indexer.domain.market import Token
from indexer.domain.order import OrderStatus, OrderType, Side, TimeInForce, Trade
from indexer.domain.units import Address, Amount, Hash, Price, Quantity
from indexer.mirror.audit import INCOMPLETE
from indexer.store import postgres, tables
from indexer.store.batch import UndoRow
from indexer.store.batch import _BlockRow as BlockRow
from indexer.store.batch import _DivergenceRow as DivergenceRow
from indexer.store.copy import Lines, columns, lines
from indexer.store.log_rows import LogsRow
from indexer.store.rejected import RowRejected
from indexer.store.shape import SCHEMA
from indexer.store.statements import Postgres

ADDRESS = Address("0x" + "ab" * 20)
FINALITIES: tuple[Finality, ...] = ("latest", "safe")


@pytest.mark.parametrize(
    "symbol", ["WETH", "a\tb\\c\nd\re", "\\N", "", "'; drop table x; --", "🦄é\x01"]
)
async def test_words_from_the_chain_come_back_as_they_were(database_url: str, symbol: str) -> None:
    token = Token(ADDRESS, symbol, symbol * 2, 18)
    assert await there_and_back(database_url, "tokens", token) == token


async def test_postgres_has_no_nul(database_url: str) -> None:
    found = await there_and_back(database_url, "tokens", Token(ADDRESS, "a\x00b", "", 0))
    assert isinstance(found, Token)
    assert found.symbol == "a\ufffdb"


async def test_sums_outgrow_a_uint256(database_url: str) -> None:
    most = 2**256 - 1
    balance = Balance(ADDRESS, ADDRESS, Amount(most), Amount(0), Amount(1000 * most), Amount(-most))
    assert await there_and_back(database_url, "balances", balance) == balance


async def there_and_back(database_url: str, name: str, record: Token | Balance) -> object:
    table = {one.name: one for one in tables.ALL}[name]
    connection = await postgres.connect(database_url)
    try:
        await connection.copy_to_table(
            name,
            schema_name=SCHEMA,
            columns=columns(table),
            source=BytesIO(lines(table, [record])),
            format="text",
        )
        row = await connection.fetchrow(f"select {', '.join(columns(table))} from {table}")
        assert row is not None
        return type(record)(**row)
    finally:
        await connection.close()


async def test_few_rows_go_as_arrays_and_arrive_as_by_copy(database_url: str) -> None:
    """Absent values, a single row, and a row that is there already."""
    connection = await postgres.connect(database_url)
    database = Postgres(connection)
    rows = [Bundle(n, n, 7, "apply", ["a", "b:c"], [1, n], "0x00") for n in (1, 2)]
    gone = Bundle(4, 3, 9, "retract", ["a"], [4], "0x01")
    places, hexes = [0, 1], ["0x01", "0x0203"]
    names: list[list[str | None]] = [[None, "x"], ["y", "z"]]
    logs = [
        LogsRow(n, n, places, places, places, places, hexes, hexes, hexes, places, some, "0x0405")
        for n, some in enumerate(names)
    ]
    async with database.transaction():
        await database.append(tables.outbox, rows)
        await database.append(tables.logs, logs)
        await database.append(tables.outbox, [gone])
        await database.delete(tables.outbox, [(4,)])
    stored = await connection.fetch("select * from tidebook.outbox order by 1")
    assert [tuple(row) for row in stored] == [astuple(row) for row in rows]
    found = await connection.fetch("select * from tidebook.logs order by block_number")
    assert [tuple(row) for row in found] == [astuple(row) for row in logs]
    hashes = [f"0x{n:064x}" for n in (1, 2)]
    for finality in FINALITIES:
        blocks = [BlockRow(one, n, hashes[0], 7, finality) for n, one in enumerate(hashes)]
        async with database.transaction():
            await database.upsert(tables.blocks, blocks)
    found = await connection.fetch("select hash, number, finality from tidebook.blocks order by 2")
    assert [tuple(row) for row in found] == [(hashes[0], 0, "safe"), (hashes[1], 1, "safe")]
    await connection.close()


def trade(at: int, **wrong: object) -> Any:
    zero, tx = Address("0x" + "00" * 20), Hash("0x" + f"{at:064x}")
    good = {
        **dict.fromkeys(Trade.__struct_fields__, 1),
        **dict.fromkeys(("market", "maker", "taker"), zero),
        "block_number": 77,
        "log_index": at,
        "tx": tx,
        "taker_side": "buy",
        "verified": True,
        "undecided": None,
    }
    return SimpleNamespace(**{**good, **wrong})


@pytest.mark.parametrize("count", [3, 2_000], ids=["few", "COPY"])
@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"price": "12.x"}, "12.x"),
        ({"quantity": None}, ""),
        ({"log_index": 0, "tx": "0x" + "ee" * 32}, "trades_pk"),
    ],
    ids=["no number", "nothing", "twice"],
)
async def test_a_row_that_is_rejected_is_named_by_its_origin(
    database_url: str, count: int, wrong: dict[str, object], reason: str
) -> None:
    rows = [trade(index) for index in range(count)]
    bad = rows[count - 2] = trade(count - 2, **wrong)
    database = Postgres(await postgres.connect(database_url))
    try:
        with pytest.raises(RowRejected) as caught:
            async with database.transaction():
                await database.append(tables.trades, rows)
        assert not await database.read(tables.trades, ["log_index"])
    finally:
        await database.close()
    message = str(caught.value)
    assert "tidebook.trades, block 77" in message
    assert reason in message
    if count > 3:
        assert f"log {bad.log_index}, tx {bad.tx}" in message


async def test_a_statement_under_way_that_fails_is_told_before_the_commit(
    database_url: str,
) -> None:
    connection = await postgres.connect(database_url)
    database = Postgres(connection)
    row = UndoRow(1, Deltas())

    async def twice() -> None:
        async with database.transaction():
            await database.append(tables.undo, [row])
            await database.append(tables.undo, [row])

    with pytest.raises(RowRejected):
        await twice()
    async with database.transaction():
        assert not await database.read(tables.undo, ("images",))
        await database.append(tables.undo, [row])
    assert len(await database.read(tables.undo, ("images",))) == 1
    await connection.close()


def test_rendered_rows_read_as_the_records_they_were() -> None:
    """As the database's double reads them, and whoever names a row that was rejected."""
    record = Balance(ADDRESS, ADDRESS, Amount(2**256), Amount(0), Amount(1), Amount(-1), 7, 8)
    token = Token(ADDRESS, "a\tb\\c\nd\re", "\\N", 18)
    tx = Hash("0x" + "0f" * 32)
    placed = OrderChange(ADDRESS, 7, ADDRESS, 1, 0, 2, tx, "placed", "open", Quantity(0), Amount(0))
    fill = (Price(5), Quantity(2**70), Amount(4), None, False)
    filled = OrderChange(
        ADDRESS,
        7,
        ADDRESS,
        1,
        1,
        3,
        tx,
        "traded",
        "partially_filled",
        Quantity(1),
        Amount(2),
        *fill,
    )
    for table, ones in (
        (tables.balances, [record]),
        (tables.tokens, [token]),
        (tables.order_changes, [placed, filled]),
    ):
        rendered = Lines(table)
        rendered.add(ones)
        assert len(rendered) == len(ones)
        for found, one in zip(rendered, ones, strict=True):
            assert {name: getattr(found, name) for name in columns(table)} == asdict(one)
    divergences = Lines(tables.divergences)
    divergences.add([DivergenceRow("0x01", 1, 2, "0x02", 3, "trade", None, '{"a":"\\\\"}')])
    (divergence,) = divergences
    assert (divergence.tx, divergence.expected, divergence.found) == ("0x02", None, '{"a":"\\\\"}')


def test_what_is_marked_as_words_needs_no_escape() -> None:
    """Rows of words and numbers are written as JSON whose marks are taken off."""
    said = {
        *(
            word
            for words in (Side, OrderType, TimeInForce, OrderStatus)
            for word in get_args(words)
        ),
        *(word for words in (OrderChangeKind, Finality) for word in get_args(words)),
        INCOMPLETE,
    }
    assert [word for word in said if not re.fullmatch("[a-z_ ]+", word)] == []


async def test_many_rows_go_in_pieces(database_url: str) -> None:
    """Trades with and without what may be absent, more than are rendered at once."""
    rows = [trade(at, maker_fee=None if at % 2 else at, verified=None) for at in range(2_001)]
    rendered = Lines(tables.trades)
    rendered.add(rows)
    assert len(rendered.pieces) > 1
    database = Postgres(await postgres.connect(database_url))
    try:
        async with database.transaction():
            await database.append(tables.trades, rendered)
        found = await database.read(tables.trades, columns(tables.trades), order=("log_index",))
    finally:
        await database.close()
    written = [{name: getattr(row, name) for name in columns(tables.trades)} for row in rows]
    assert [dict(row) for row in found] == written
