"""The short way for lists tells what the general way tells."""

import json
import os
from random import Random
from typing import Any

import pytest
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from api import projection
from api.schema import Context, build_schema
from indexer.domain.units import to_decimal, to_decimals
from indexer.store.snapshot import connect
from tests.indexed import Indexed

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


FIELDS = {
    "Trade": [
        "cursor",
        "blockNumber",
        "logIndex",
        "tx",
        "timestamp",
        "price",
        "rawPrice",
        "quantity",
        "rawQuantity",
        "quoteAmount",
        "rawQuoteAmount",
        "takerSide",
        "makerOrderId",
        "takerOrderId",
        "maker",
        "taker",
        "makerFee",
        "takerFee",
    ],
    "Order": [
        "cursor",
        "orderId",
        "account",
        "side",
        "type",
        "timeInForce",
        "price",
        "rawPrice",
        "quantity",
        "rawQuantity",
        "quantityInQuote",
        "filled",
        "rawFilled",
        "quoteFilled",
        "rawQuoteFilled",
        "status",
        "expiry",
        "placedAt",
        "tx",
    ],
    "Market": [
        "address",
        "symbol",
        "poolId",
        "createdBlock",
        "tickSize",
        "minQuantity",
        "diverged",
    ],
    "Token": ["address", "symbol", "name", "decimals"],
}
ROOTS = {"trades": "Trade", "orders": "Order", "markets": "Market"}
INSIDE = {"Trade": {"market": "Market"}, "Order": {"market": "Market"}}
INSIDE["Market"] = {"base": "Token", "quote": "Token"}


def selection(random: Random, kind: str, depth: int = 0) -> str:
    """Some fields of a type, in any order, some by another name, some with a directive."""
    chosen = random.sample(FIELDS[kind], random.randint(1, len(FIELDS[kind])))
    told = [f"a{n}: {name}" if random.random() < 0.2 else name for n, name in enumerate(chosen)]
    for name, inner in INSIDE.get(kind, {}).items():
        if random.random() < 0.5:
            told.append(f"{name} {{ {selection(random, inner, depth + 1)} }}")
    if random.random() < 0.1:
        told.append(f"{random.choice(chosen)} @include(if: {random.choice(['true', 'false'])})")
    if random.random() < 0.1:
        told.append("__typename")
    random.shuffle(told)
    return " ".join(told)


async def test_any_document_is_told_the_same_both_ways(
    indexed: Indexed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A law: generated documents, each answered with the short way and without."""
    seed = int(os.environ.get("TIDEBOOK_TEST_SEED", "7"))
    print(f"seed {seed}")  # noqa: T201  # a failure names it
    random = Random(seed)
    engine, built = connect(indexed.database_url, 1, 1.0), build_schema()
    plain, short = projection._plan, 0

    def refuse(kind: Any, selections: Any) -> Any:
        raise projection.NotPlain

    def watch(kind: Any, selections: Any) -> Any:
        nonlocal short
        found = plain(kind, selections)
        short += 1
        return found

    for _ in range(60):
        root = random.choice(list(ROOTS))
        query = (
            f"{{ {root}(limit: {random.randint(1, 12)}) {{ {selection(random, ROOTS[root])} }} }}"
        )
        told = []
        for way in (watch, refuse):
            monkeypatch.setattr(projection, "_plan", way)
            answer = await built.execute(query, context_value=Context(engine))
            assert answer.errors is None, (query, answer.errors)
            told.append(json.dumps(answer.data))
        assert told[0] == told[1], query
    await engine.dispose()
    assert 15 < short < 60, "both ways were met"


def test_a_column_of_decimals_is_each_of_them() -> None:
    seed = int(os.environ.get("SEED") or Random().randrange(2**32))
    random = Random(seed)
    print(f"seed {seed}")  # noqa: T201
    for decimals in (0, 1, 6, 18):
        column = [random.randrange(10 ** random.randrange(1, 40)) for _ in range(200)]
        column += [0, 1, 10**decimals, 10 ** (decimals + 3), 10**80]
        for one in (column, [-value for value in column], []):
            assert to_decimals(one, decimals) == [to_decimal(value, decimals) for value in one]
