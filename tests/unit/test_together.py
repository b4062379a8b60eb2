"""Statements that go as one: their parameters stay theirs, and none goes with what it touches."""

from typing import Literal

from indexer.store import tables
from indexer.store.together import Part, together

Verb = Literal["insert", "update", "delete", "select"]


def part(verb: Verb, table: object = tables.orders) -> Part:
    return Part(verb, table, "", ())  # type: ignore[arg-type]


def test_parameters_are_counted_on() -> None:
    asked = ("insert into a values ($1, $2)", "delete from b where c = $1", "select f($1, $1, $2)")
    assert together(asked) == (
        "with p0 as (insert into a values ($1, $2)), p1 as (delete from b where c = $3)"
        " select f($4, $4, $5)"
    )


def test_one_alone_is_as_it_was() -> None:
    assert together(("delete from a where b = $1",)) == "delete from a where b = $1"


def test_of_one_table_only_what_goes_and_what_comes_may_share_a_statement() -> None:
    assert not part("insert").collides(part("delete"))
    assert part("delete").collides(part("insert"))
    assert part("insert").collides(part("insert"))
    assert not part("insert").collides(part("insert", tables.levels))
    assert not part("select").collides(part("insert"))
