"""A row that Postgres will not take, by where it comes from: block, log and tx.

A COPY fails as a whole, and Postgres tells a line of it; an operator can look up a log.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import asyncpg
from sqlalchemy import Table

_LINE = re.compile(r"COPY \S+, line (\d+)(?:, column (\w+))?")


class RowRejected(Exception):
    """Nothing of the transaction was kept. The message names the row's origin and the reason."""

    def __init__(self, table: Table, row: object, found: str) -> None:
        super().__init__(f"Postgres rejects a row of {table}, {origin(row)}: {found}")


@contextmanager
def naming(table: Table, rows: Sequence[object]) -> Iterator[None]:
    """Tell which of the rows it was. Raises RowRejected for what is wrong with a row."""
    try:
        yield
    except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
        place = _LINE.search(getattr(error, "context", None) or "")
        words = getattr(error, "message", None) or str(error)
        if place is None:
            among = f"one of {len(rows)} rows, to {origin(rows[-1])}"
            raise RowRejected(table, rows[0], f"{words} ({among})") from error
        column = f"column {place[2]}: " if place[2] else ""
        raise RowRejected(table, rows[int(place[1]) - 1], column + words) from error


def origin(row: object) -> str:
    """Where a row comes from, as far as it says so."""
    told = []
    for word, names in (
        ("block", ("block_number", "updated_block", "number")),
        ("log", ("log_index", "updated_log_index")),
        ("tx", ("tx",)),
    ):
        value = next((v for name in names if (v := getattr(row, name, None)) is not None), None)
        if value is not None:
            told.append(f"{word} {value}")
    return ", ".join(told) or f"{row}"[:200]
