"""Fields worked out of a row: each by itself for GraphQL, and a whole column of them at once.

The executor asks a field of one row at a time; the short way for lists (`projection`) asks it of
all rows, which needs no call for each.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from operator import attrgetter
from typing import Any

import strawberry

from indexer.domain.units import to_decimal, to_decimals

Column = list[Any]
COLUMN = "tell_column"
"""A resolver's attribute: the function that tells it of many rows."""


def told(
    tell: Callable[[Any], Any],
    description: str | None = None,
    column: Callable[[Column], Column] | None = None,
) -> Any:
    """A field that is worked out of a row only where somebody asks for it."""

    def resolve(self: Any) -> Any:
        return tell(self)

    if column is not None:
        setattr(resolve, COLUMN, column)
    return strawberry.field(resolver=resolve, description=description)


def stored(path: str, description: str | None = None) -> Any:
    """What a row holds, as it is."""
    get = attrgetter(path)
    return told(get, description, lambda rows: list(map(get, rows)))


def raw(path: str) -> Any:
    """A number in contract units, as text."""
    get = attrgetter(path)
    return told(lambda self: str(get(self)), None, lambda rows: list(map(str, map(get, rows))))


def word(path: str, kind: type[Enum]) -> Any:
    """One of a closed set. A column is of the words themselves, which the short way knows."""
    get = attrgetter(path)
    return told(lambda self: kind(get(self)), None, lambda rows: list(map(get, rows)))


def decimal(path: str, decimals: str, description: str | None = None) -> Any:
    """A number in units of a token, scaled: where in a row it is, and the token's decimals."""
    get, scale = attrgetter(path), attrgetter(decimals)

    def column(rows: Sequence[Any]) -> Column:
        scales = set(map(scale, rows))
        if len(scales) == 1:
            return to_decimals(list(map(get, rows)), scales.pop())
        return [to_decimal(get(row), scale(row)) for row in rows]

    return told(lambda self: to_decimal(get(self), scale(self)), description, column)
