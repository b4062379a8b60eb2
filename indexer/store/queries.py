"""Statements compiled once: to build and compile one costs more than to run it."""

from collections.abc import Callable, Collection
from typing import Any

from sqlalchemy import Column, ColumnElement, Select, any_, bindparam
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.sql.selectable import TextualSelect

_DIALECT = dialect()  # type: ignore[no-untyped-call]


class Query:
    """A compiled statement. It may be read any number of times, with other values each time."""

    __slots__ = ("_names", "_values", "text")

    def __init__(self, statement: Select[Any] | TextualSelect) -> None:
        compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
        self.text = str(compiled)
        """SQL with `$1`, `$2`, … for its parameters."""
        self._names: list[str] = compiled.positiontup or []
        self._values: dict[str, Any] = compiled.params

    def arguments(self, values: dict[str, Any] | None) -> list[Any]:
        """Its parameters in their order: those given by name, those it was built with."""
        if values is None:
            return [self._values[name] for name in self._names]
        return [values[name] if name in values else self._values[name] for name in self._names]


class Shaped:
    """A statement with filters that may be given or not: one Query for each set of them.

    `build` gets the names of those that are given, and returns the statement with a parameter of
    that name for each.
    """

    def __init__(self, build: Callable[[Collection[str]], Select[Any]]) -> None:
        self._build = build
        self._queries: dict[tuple[str, ...], Query] = {}

    def __call__(self, **values: Any) -> tuple[Query, dict[str, Any]]:
        """The query of the values that are not None, and those."""
        given = {name: value for name, value in values.items() if value is not None}
        shape = tuple(given)
        query = self._queries.get(shape)
        if query is None:
            query = self._queries[shape] = Query(self._build(shape))
        return query, given


def one_of(column: Column[Any], name: str) -> ColumnElement[bool]:
    """Whether a column is one of the values of a parameter: `in`, but of any number of values."""
    return column == any_(bindparam(name, type_=ARRAY(column.type)))
