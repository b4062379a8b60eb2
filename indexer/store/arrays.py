"""Few rows as one statement: each column an array, in text.

All arrays are unnested in one SELECT list, which hands on row by row; in FROM each would be kept as
a table first, at half again the price.

A COPY takes three messages and their answers, and a stage to merge from; a block at the head brings
a dozen tables some tens of rows each, so there the talking costs more than the rows.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from indexer.store.copy import Lines, columns
from indexer.store.shape import Column, Table

MOST_ROWS = 1_000
"""Rows above which a COPY is cheaper."""
_BY_LINES = ("bigint[]", "integer[]", "bytea[]", "text[]", "jsonb", "text", "bytea")
"""Types whose values go as lines of one text."""


def fit(table: Table, rows: Sequence[object]) -> bool:
    """Whether these rows may go this way: text from the chain could hold what ends a line."""
    if isinstance(rows, Lines) or _needs_copy(table):
        return False
    return 0 < len(rows) <= MOST_ROWS or _has_arrays(table)


@cache
def _needs_copy(table: Table) -> bool:
    return any(table.columns[name].content in ("free text", "long") for name in columns(table))


@cache
def _has_arrays(table: Table) -> bool:
    return any(column.type.endswith("[]") for column in table.columns.values())


@cache
def insert(table: Table, *, replace: bool = False) -> str:
    """The statement; its parameters are `values`. `replace`: rows of the same key give way."""
    names = columns(table)
    sources = (_array(table.columns[name], n) for n, name in enumerate(names, 1))
    query = f"insert into {table} ({', '.join(names)}) select {', '.join(sources)}"
    return query + on_conflict(table) if replace else query


@cache
def on_conflict(table: Table) -> str:
    """A row of the same key is replaced."""
    key = table.key.columns
    values = ", ".join(f"{name} = excluded.{name}" for name in columns(table) if name not in key)
    return f" on conflict ({', '.join(key)}) do update set {values}"


@cache
def delete(table: Table) -> str:
    """The statement that deletes rows by key; its parameters are `keys`."""
    sources = ", ".join(_array(column, n) for n, column in enumerate(table.key_columns, 1))
    return f"delete from {table} where ({', '.join(table.key.columns)}) in (select {sources})"


def keys(table: Table, some: Sequence[tuple[object, ...]]) -> tuple[str, ...]:
    """The columns of some primary keys, each as one text."""
    rows = [dict(zip(table.key.columns, key, strict=True)) for key in some]
    return tuple(_key_writer(column)(rows) for column in table.key_columns)


def values(table: Table, rows: Sequence[object]) -> tuple[str, ...]:
    """The columns of some rows, each as one text."""
    return _writer(table)(rows)


def _array(column: Column, number: int) -> str:
    """A column's values, one a row. Hex is cut at line ends: an array's own text costs it twice."""
    if column.type in _BY_LINES:
        return f"unnest(string_to_array(${number}::text, E'\\n', '\\N'))::{column.type}"
    return f"unnest(${number}::text::{column.type}[])"


@cache
def _writer(table: Table) -> Callable[[Sequence[object]], tuple[str, ...]]:
    fields = ", ".join(_field(table.columns[name]) for name in columns(table))
    scope: dict[str, Any] = {}
    exec(f"def write(records): return ({fields},)", scope)
    write: Callable[[Sequence[object]], tuple[str, ...]] = scope["write"]
    return write


@cache
def _key_writer(column: Column) -> Callable[[Sequence[dict[str, object]]], str]:
    scope: dict[str, Any] = {}
    source = _field(column).replace(f"r.{column.name}", f"r['{column.name}']")
    exec(f"def write(records): return {source}", scope)
    write: Callable[[Sequence[dict[str, object]]], str] = scope["write"]
    return write


def _field(column: Column) -> str:
    """Source of one column as text."""
    value, by_lines = f"r.{column.attribute}", column.type in _BY_LINES
    null = r"'\\N'" if by_lines else "'NULL'"
    match column.type:
        case "bytea":
            item = r"'\\x' + " + f"{value}[2:]"
        case "bytea[]":
            item = rf"'{{' + ','.join(['\\\\x' + v[2:] for v in {value}]) + '}}'"
        case "text[]":
            item = f"'{{' + ','.join(['NULL' if v is None else v for v in {value}]) + '}}'"
        case "bigint[]" | "integer[]":
            item = f"'{{' + str({value})[1:-1] + '}}'"
        case _:
            item = value if by_lines else f"str({value})"
    if column.nullable:
        item = f"{null} if {value} is None else {item}"
    if by_lines:
        return rf"'\n'.join([{item} for r in records])"
    return f"'{{' + ','.join([{item} for r in records]) + '}}'"
