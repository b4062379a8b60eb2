"""The short way for lists tells what the general way tells."""

import json
from typing import Any

import pytest
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from api import projection
from api.schema import Context, build_schema
from indexer.store.snapshot import connect
from tests.api.served import Indexed

PLAIN = """{ trades(limit: 50) { cursor t: tx blockNumber logIndex price takerSide makerFee
  market { symbol base { decimals } } } }"""


@pytest.mark.parametrize(
    ("query", "short"),
    [
        (PLAIN, True),
        ("{ tradesConnection(first: 5) { edges { cursor node { price } } } }", True),
        ("{ orders(limit: 50) { orderId status type quantityInQuote } }", True),
        ("{ trades(limit: 5) { ...f } } fragment f on Trade { price }", False),
        ("{ trades(limit: 5) { price @skip(if: true) tx } }", False),
        ("{ trades(limit: 5) { price market { symbol } market { address } } }", False),
        ("{ trades(limit: 5) { __typename price } }", False),
    ],
)
async def test_both_ways_tell_the_same(
    indexed: Indexed, monkeypatch: pytest.MonkeyPatch, query: str, short: bool
) -> None:
    engine = connect(indexed.database_url, 1, 1.0)
    general = StrawberryGraphQLCoreExecutionContext.complete_iterable_value
    taken: list[str] = []

    def watch(self: Any, *args: Any) -> Any:
        taken.append("general")
        return general(self, *args)

    def refuse(kind: Any, selections: Any) -> Any:
        raise projection.NotPlain

    monkeypatch.setattr(StrawberryGraphQLCoreExecutionContext, "complete_iterable_value", watch)
    found = await build_schema().execute(query, context_value=Context(engine))
    assert (taken == []) is short
    monkeypatch.setattr(projection, "_value", refuse)
    expected = await build_schema().execute(query, context_value=Context(engine))
    assert taken
    await engine.dispose()
    assert found.errors is expected.errors is None
    assert json.dumps(found.data) == json.dumps(expected.data)
