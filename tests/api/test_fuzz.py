"""Whatever document or variables come: no 5xx, and every error has a type."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests
from graphql import IntValueNode
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis_graphql import strategies as gql

from api import schema
from tests.indexed import Indexed

SDL = Path(schema.__file__).with_name("schema.graphql").read_text()
TYPED = {
    "BAD_INPUT",
    "LIMIT_EXCEEDED",
    "BLOCK_NOT_REACHED",
    "REORGED",
    "BEYOND_RETENTION",
}

NASTY = [
    "",
    "0x",
    "0x" + "f" * 39,
    "0x" + "g" * 40,
    "0x" + "１" * 40,
    "'; drop table tidebook.trades; --",
    "$1",
    "%s",
    "a\u0000b",
    "\u202e\U0001f40d",
    "𝟙𝟚𝟛",
    "NaN",
    "Infinity",
    "-0",
    "1e400",
    "9" * 400,
    "99999999-99999999",
    "\\",
    "🙂" * 200,
]
NUMBERS = [-1, 0, 1, 2**31, 2**53, 2**63, 2**64, -(2**63), 10**40, 1e308, float("nan")]
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from([*NUMBERS, float("inf")])
    | st.sampled_from(NASTY)
    | st.text(max_size=20)
    | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)

ROOTS = {
    "trades": "$market: String, $account: String, $limit: Int!, $after: String, $block: BlockPin",
    "orders": "$market: String, $status: [OrderStatus!], $side: Side, $after: String",
    "ordersConnection": "$first: Int!, $where: OrderFilter, $block: BlockPin",
    "depth": "$market: String!, $limit: Int!, $block: BlockPin, $finality: Finality",
    "book": "$market: String!, $block: BlockPin",
    "balances": "$account: String!, $token: String, $block: BlockPin, $afterTx: String",
    "candles": "$market: String!, $interval: String!, $from: Long, $to: Long, $block: BlockPin",
    "fills": "$account: String!, $market: String, $after: String",
    "accounts": "$limit: Int!, $after: String, $block: BlockPin",
    "blocks": "$limit: Int!, $after: String",
    "reorgs": "$limit: Int!, $after: String",
    "divergences": "$market: String, $acknowledged: Boolean, $after: String",
    "tradesConnection": "$first: Int!, $after: String",
    "simulateOrder": "$market: String!, $orders: [OrderIntent!]!, $block: BlockPin",
}


@pytest.fixture
def tell(base_url: str, indexed: Indexed, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Send a request's body, and see that the answer is one."""
    monkeypatch.setattr("api.view.MAX_WAIT_S", 0.01)
    session = requests.Session()

    def tell(body: Any) -> None:
        raw = body if isinstance(body, str) else json.dumps(body)  # NaN included
        headers = {"content-type": "application/json"}
        response = session.post(f"{base_url}/graphql", raw.encode(), headers=headers)
        assert response.status_code in (200, 400), (response.status_code, body)
        answer = response.json()
        for error in answer.get("errors", ()):
            assert error["extensions"]["code"] in TYPED, (error, body)
            assert error["extensions"]["hint"], error

    yield tell
    session.close()


Asking = TypeVar("Asking", bound=Callable[..., None])


def fuzzed(examples: int, chosen_seed: int) -> Callable[[Asking], Asking]:
    """Hypothesis without files, clocks and shrinking: many small questions."""
    return lambda ask: seed(chosen_seed)(
        settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )(ask)
    )


def test_any_document_of_the_schema_is_answered(tell: Any, examples: int, chosen_seed: int) -> None:
    names = st.sampled_from(["WETH-USDC", "WETHUSDC", "0x" + "a1" * 20, *NASTY])
    scalars = {"Long": st.integers().map(lambda number: IntValueNode(value=str(number)))}
    queries = gql.queries(SDL, custom_scalars=scalars)

    @fuzzed(examples * 2, chosen_seed)
    @given(query=queries, name=names)
    def ask(query: str, name: str) -> None:
        tell({"query": query.replace('""', json.dumps(name))})

    ask()


@pytest.mark.parametrize("root", ROOTS)
def test_any_variables_are_answered(tell: Any, root: str, examples: int, chosen_seed: int) -> None:
    names = [one.split(":")[0][1:] for one in ROOTS[root].split(", ")]
    given_all = ", ".join(f"{name}: ${name}" for name in names)
    query = f"query({ROOTS[root]}) {{ {root}({given_all}) {{ __typename }} }}"
    names_of = ["rawPrice_gt", "AND", "OR", "status_in", "orderId_lte", "account", "tx_not"]
    filters = st.dictionaries(st.sampled_from(names_of), ANYTHING, max_size=3)
    pins = st.dictionaries(st.sampled_from(["number", "hash", "numberGte"]), ANYTHING, max_size=2)
    good = {
        "market": st.just("WETH-USDC"),
        "account": st.just("0x" + "a1" * 20),
        "limit": st.just(5),
        "first": st.just(5),
        "interval": st.sampled_from(["1m", "1M"]),
        "block": pins,
        "where": filters,
        "orders": st.lists(
            st.fixed_dictionaries({"side": st.just("buy"), "quantity": st.sampled_from(NASTY)}),
            max_size=2,
        ),
    }
    variables = st.fixed_dictionaries(
        {name: st.one_of(good.get(name, st.none()), ANYTHING) for name in names}
    )

    @fuzzed(examples, chosen_seed)
    @given(variables=variables)
    def ask(variables: dict[str, Any]) -> None:
        tell({"query": query, "variables": variables})

    ask()


def test_any_body_is_answered(tell: Any, examples: int, chosen_seed: int) -> None:
    @fuzzed(examples * 4, chosen_seed)
    @given(body=ANYTHING | st.fixed_dictionaries({"query": ANYTHING, "variables": ANYTHING}))
    def ask(body: Any) -> None:
        tell(body)

    ask()
    for deep in (
        "[" * 30_000,
        '{"query":' * 5_000,
        '{"a":[' * 8_000,
        '{"query": %s}' % ("9" * 5_000),
    ):
        tell(deep)
