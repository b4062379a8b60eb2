"""Documents are parsed and judged once, whatever is wrong with them."""

from typing import Any

import pytest
from graphql import GraphQLError
from strawberry.schema.schema import validate_document

from api.documents import Documents
from api.errors import LimitExceeded
from api.schema import build_schema

SCHEMA = build_schema()._schema


def test_a_text_met_before_is_not_judged_again(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[Any] = []

    def watch(*args: Any) -> Any:
        judged.append(args)
        return validate_document(*args)

    monkeypatch.setattr("api.documents.validate_document", watch)
    kept = Documents()
    first = kept.judge(SCHEMA, "{ trades { price } }")
    assert kept.judge(SCHEMA, "{ trades { price } }") is first
    assert first.errors == []
    wrong = [kept.judge(SCHEMA, "{ trades { prize } }").errors for _ in range(2)]
    assert wrong[0] is wrong[1]
    assert [error.message for error in wrong[0]] != []
    assert len(judged) == 2


def test_the_least_recently_used_goes() -> None:
    kept = Documents(kept=2)
    first = kept.judge(SCHEMA, "{ trades { price } }")
    second = kept.judge(SCHEMA, "{ trades { tx } }")
    assert kept.judge(SCHEMA, "{ trades { price } }") is first
    kept.judge(SCHEMA, "{ trades { maker } }")
    assert kept.judge(SCHEMA, "{ trades { price } }") is first
    assert kept.judge(SCHEMA, "{ trades { tx } }") is not second


def test_what_cannot_be_walked_through_is_refused_before_any_rule() -> None:
    bombs = "".join(f"fragment f{n} on Trade {{ ...f{n + 1} ...f{n + 1} }} " for n in range(9))
    with pytest.raises(LimitExceeded):
        Documents().judge(SCHEMA, "{ trades { ...f0 } } " + bombs + "fragment f9 on Trade { tx }")
    with pytest.raises(GraphQLError, match="Syntax Error"):
        Documents().judge(SCHEMA, "{ trades { ")
