"""Kinds of column for readers: what the database holds, and what Python sees of it.

Hashes and addresses are `bytea` in the database and `0x…` text everywhere else; amounts are
`numeric` there and `int` everywhere else. The two types below are where that happens;
the writer's asyncpg connections have codecs of the same effect (store/postgres.py).
"""

from decimal import Decimal
from typing import Any

from sqlalchemy import Dialect, LargeBinary, Numeric, TypeDecorator


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
