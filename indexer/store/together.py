"""Statements about different tables as one: Postgres is asked once, and answers once.

Each becomes a branch of a WITH. They see the same snapshot and none sees what another does, so two
may go together only where neither touches the other's rows.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import msgspec

from indexer.store.shape import Table

_PARAMETER = re.compile(r"\$(\d+)")


class Part(msgspec.Struct, frozen=True, gc=False):
    """A statement with the values of its parameters."""

    verb: Literal["insert", "update", "delete", "select"]
    table: Table
    query: str
    values: Sequence[Any]
    rows: Sequence[object] = ()
    """What is written, to tell its origin."""

    def collides(self, earlier: "Part") -> bool:
        """Whether this one must not go with an earlier one.

        Rows of a table that are deleted and then written may: they have different keys, or they
        would not be both.
        """
        if self.table is not earlier.table or self.verb == "select":
            return False
        return (earlier.verb, self.verb) != ("delete", "insert")


@cache
def together(queries: tuple[str, ...]) -> str:
    """One statement that does what all of them do, their parameters one after another.

    The last may be a SELECT; that of a branch would never be run.
    """
    used, shifted = 0, []
    for query in queries:
        numbers = [int(number) for number in _PARAMETER.findall(query)]
        shifted.append(_PARAMETER.sub(lambda found: f"${int(found[1]) + used}", query))  # noqa: B023
        used += max(numbers, default=0)
    *branches, last = shifted
    if not branches:
        return last
    return f"with {', '.join(f'p{n} as ({one})' for n, one in enumerate(branches))} {last}"
