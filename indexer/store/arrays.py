"""Few rows as one statement: each column an array, in text.

All arrays are unnested in one SELECT list, which hands on row by row; in FROM each would be kept as
a table first, at half again the price.

A COPY takes three messages and their answers, and a stage to merge from; a block at the head brings
a dozen tables some tens of rows each, so there the talking costs more than the rows.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import ARRAY, JSON, Column, Table, Text
from sqlalchemy.dialects import postgresql

from indexer.store.columns import FREE_TEXT, LONG, Hex, attribute
from indexer.store.copy import Lines, columns

MOST_ROWS = 1_000
"""Rows above which a COPY is cheaper."""
_BY_LINES = (ARRAY, JSON, Text, Hex)
"""Types whose values go as lines of one text."""


def fit(table: Table, rows: Sequence[object]) -> bool:
    """Whether these rows may go this way: text from the chain could hold what ends a line."""
    if isinstance(rows, Lines) or _needs_copy(table):
        return False
    return 0 < len(rows) <= MOST_ROWS or _has_arrays(table)


@cache
def _needs_copy(table: Table) -> bool:
    return any(table.columns[name].info in (FREE_TEXT, LONG) for name in columns(table))


@cache
def _has_arrays(table: Table) -> bool:
    return any(isinstance(column.type, ARRAY) for column in table.columns)


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
    key = ", ".join(column.name for column in table.primary_key)
    values = ", ".join(
        f"{name} = excluded.{name}" for name in columns(table) if name not in table.primary_key
    )
    return f" on conflict ({key}) do update set {values}"


@cache
def delete(table: Table) -> str:
    """The statement that deletes rows by key; its parameters are `keys`."""
    names = ", ".join(column.name for column in table.primary_key)
    sources = ", ".join(_array(column, n) for n, column in enumerate(table.primary_key, 1))
    return f"delete from {table} where ({names}) in (select {sources})"


def keys(table: Table, some: Sequence[tuple[object, ...]]) -> tuple[str, ...]:
    """The columns of some primary keys, each as one text."""
    rows = [dict(zip(table.primary_key.columns.keys(), key, strict=True)) for key in some]
    return tuple(_key_writer(column)(rows) for column in table.primary_key)


def values(table: Table, rows: Sequence[object]) -> tuple[str, ...]:
    """The columns of some rows, each as one text."""
    return _writer(table)(rows)


def _array(column: Column[Any], number: int) -> str:
    """A column's values, one a row. Hex is cut at line ends: an array's own text costs it twice."""
    kind = column.type.compile(postgresql.dialect())  # type: ignore[no-untyped-call]
    if isinstance(column.type, _BY_LINES):
        return f"unnest(string_to_array(${number}::text, E'\\n', '\\N'))::{kind}"
    return f"unnest(${number}::text::{kind}[])"


@cache
def _writer(table: Table) -> Callable[[Sequence[object]], tuple[str, ...]]:
    fields = ", ".join(_field(table.columns[name]) for name in columns(table))
    scope: dict[str, Any] = {}
    exec(f"def write(records): return ({fields},)", scope)
    write: Callable[[Sequence[object]], tuple[str, ...]] = scope["write"]
    return write


@cache
def _key_writer(column: Column[Any]) -> Callable[[Sequence[dict[str, object]]], str]:
    scope: dict[str, Any] = {}
    source = _field(column).replace(f"r.{column.name}", f"r['{column.name}']")
    exec(f"def write(records): return {source}", scope)
    write: Callable[[Sequence[dict[str, object]]], str] = scope["write"]
    return write


def _field(column: Column[Any]) -> str:
    """Source of one column as text."""
    value, by_lines = f"r.{attribute(column)}", isinstance(column.type, _BY_LINES)
    null = r"'\\N'" if by_lines else "'NULL'"
    match column.type:
        case Hex():
            item = r"'\\x' + " + f"{value}[2:]"
        case ARRAY(item_type=Hex()):
            item = rf"'{{' + ','.join(['\\\\x' + v[2:] for v in {value}]) + '}}'"
        case ARRAY(item_type=Text()):
            item = f"'{{' + ','.join(['NULL' if v is None else v for v in {value}]) + '}}'"
        case ARRAY():
            item = f"'{{' + str({value})[1:-1] + '}}'"
        case _:
            item = value if by_lines else f"str({value})"
    if column.nullable:
        item = f"{null} if {value} is None else {item}"
    if by_lines:
        return rf"'\n'.join([{item} for r in records])"
    return f"'{{' + ','.join([{item} for r in records]) + '}}'"
