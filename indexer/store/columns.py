"""The kinds of column: what the database holds, and what Python sees of it.

Hashes and addresses are `bytea` in the database and `0x…` text everywhere else; amounts are
`numeric` there and `int` everywhere else. The two types below are where that happens for readers;
the writer's asyncpg connections have codecs of the same effect (store/postgres.py).
"""

from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, Column, Dialect, Integer, LargeBinary, Numeric, TypeDecorator


class Hex(TypeDecorator[str]):
    """`bytea` in the database, `0x` and lower-case hex in Python."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:
        return None if value is None else bytes.fromhex(value.removeprefix("0x"))

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> str | None:
        return None if value is None else "0x" + value.hex()


class Units(TypeDecorator[int]):
    """`numeric` in the database, `int` in Python.

    Without a precision: sums of uint256 amounts, which anybody's worthless token can make grow,
    must not outgrow their column.
    """

    impl = Numeric
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> int | None:
        return None if value is None else int(value)


WORDS = {"words": True}
"""Marks text of our own: words of lower case, nothing that JSON or a COPY would escape."""
FREE_TEXT = {"escape": True}
"""Marks text that comes from the chain: a symbol may hold anything."""
JSON_TEXT = {"escape": True, "one line": True}
"""Marks JSON of our own: it may quote the chain, and is one line."""
LONG = {"long": True}
"""Marks what may be a megabyte: Postgres takes it from a COPY five times as fast as elsewhere."""


def key(name: str, type_: Any, info: dict[str, Any] | None = None) -> Column[Any]:
    return Column(name, type_, primary_key=True, nullable=False, info=info)


def told_by(attribute: str) -> dict[str, Any]:
    """Marks a column whose value its rows have under another name."""
    return {"told by": attribute}


def attribute(column: Column[Any]) -> str:
    """Under what name a row has a column's value."""
    return str(column.info.get("told by", column.name))


def units(name: str) -> Column[Any]:
    return Column(name, Units, nullable=False)


def updated() -> list[Column[Any]]:
    """Where a record was last touched."""
    return [
        Column("updated_block", BigInteger, nullable=False),
        Column("updated_log_index", Integer, nullable=False),
    ]
