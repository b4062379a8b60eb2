"""A row that Postgres will not take, by where it comes from: block, log and tx.

A COPY fails as a whole, and Postgres tells a line of it; an operator can look up a log.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import asyncpg

from indexer.store.shape import Table

_LINE = re.compile(r"COPY \S+, line (\d+)(?:, column (\w+))?")


class RowRejected(Exception):
    """Nothing of the transaction was kept. The message names the row's origin and the reason."""

    def __init__(self, table: Table | str, row: object, found: str) -> None:
        super().__init__(f"Postgres rejects a row of {table}, {origin(row)}: {found}")


@contextmanager
def naming(*written: tuple[Table, Sequence[object]]) -> Iterator[None]:
    """Tell which of the rows it was. Raises RowRejected for what is wrong with a row."""
    try:
        yield
    except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
        words = getattr(error, "message", None) or str(error)
        told = getattr(error, "table_name", None)
        suspects = [one for one in written if one[1] and told in (None, one[0].name)]
        if not suspects:
            raise
        place = _LINE.search(getattr(error, "context", None) or "")
        table, rows = suspects[0]
        if place is not None:
            column = f"column {place[2]}: " if place[2] else ""
            raise RowRejected(table, rows[int(place[1]) - 1], column + words) from error
        tables = " or ".join(str(table) for table, _ in suspects)
        count, last = sum(len(rows) for _, rows in suspects), suspects[-1][1][-1]
        among = f"one of {count} rows, to {origin(last)}"
        raise RowRejected(tables, rows[0], f"{words} ({among})") from error


def origin(row: object) -> str:
    """Where a row comes from, as far as it says so."""
    told = []
    for word, names in (
        ("block", ("block_number", "updated_block", "number")),
        ("log", ("log_index", "updated_log_index")),
        ("tx", ("tx", "txs")),
    ):
        value = next((v for name in names if (v := getattr(row, name, None)) is not None), None)
        if value is not None:
            ends = (
                list(dict.fromkeys((value[0], value[-1]))) if isinstance(value, list) else [value]
            )
            told.append(f"{word} {' to '.join(map(str, ends))}")
    return ", ".join(told) or f"{row}"[:200]
