"""Rows as COPY writes them come back as they were, whatever a chain says."""

from io import BytesIO

import pytest

from indexer.domain.balance import Balance
from indexer.domain.market import Token
from indexer.domain.units import Address, Amount
from indexer.store import postgres, tables
from indexer.store.copy import columns, lines

ADDRESS = Address("0x" + "ab" * 20)


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
    table = tables.metadata.tables[f"{tables.SCHEMA}.{name}"]
    connection = await postgres.connect(database_url)
    try:
        await connection.copy_to_table(
            name,
            schema_name=tables.SCHEMA,
            columns=columns(table),
            source=BytesIO(lines(table, [record])),
            format="text",
        )
        row = await connection.fetchrow(f"select {', '.join(columns(table))} from {table}")
        assert row is not None
        return type(record)(**row)
    finally:
        await connection.close()
