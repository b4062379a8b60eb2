"""What the committed OpenAPI promises is what is answered: schemathesis asks for anything."""

import json
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from analytics import openapi
from tests.analytics.served import Indexed

DOCUMENT: dict[str, Any] = json.loads(openapi.FILE.read_text())


@pytest.fixture(scope="session")
def promised(base_url: str) -> Any:
    load_all_checks()
    schema: Any = schemathesis.openapi.from_dict(DOCUMENT)
    schema.config.update(base_url=base_url)
    return schema


@pytest.fixture(scope="session")
def real(indexed: Indexed) -> dict[str, st.SearchStrategy[Any]]:
    """Values that nobody would think of: names of markets, accounts and blocks that are there."""
    names = sorted({m.symbol for m in indexed.mirror.markets.rows.values()})
    return {
        "symbol": st.sampled_from(names),
        "address": st.sampled_from(sorted({one.maker for one in indexed.trades})[:5]),
        "quote": st.sampled_from(["USDC", "WETH", "MTK"]),
        "block": st.integers(0, 1002),
        "finality": st.just("latest"),
        "quantity": st.sampled_from(["1", "0.001", "99999999"]),
        "limit": st.integers(1, 1000),
    }


@pytest.mark.parametrize("path", DOCUMENT["paths"])
def test_nothing_that_can_be_asked_breaks_the_promise(
    promised: Any, real: dict[str, Any], path: str, examples: int, chosen_seed: int
) -> None:
    operation = promised[path]["GET"]
    kinds = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
    # A well-formed symbol need not be a market's, nor a well-formed number a block's.
    unfit = CHECKS.get_by_names(["positive_data_acceptance"])
    with requests.Session() as session:

        @seed(chosen_seed)
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(st.data())
        def ask(data: st.DataObject) -> None:
            kind = data.draw(st.sampled_from(kinds))
            case = data.draw(operation.as_strategy(generation_mode=kind))
            if kind is GenerationMode.POSITIVE and data.draw(st.booleans()):
                for values in (case.query, case.path_parameters):
                    known = {name: data.draw(real[name]) for name in values or () if name in real}
                    values.update(known)
            response = case.call_and_validate(session=session, excluded_checks=unfit)
            if response.status_code >= 400 and "json" in response.headers["content-type"][0]:
                error = response.json()["error"]
                assert error["code"] in ("BAD_INPUT", "NOT_FOUND")
                assert "field" in error  # "" is a name that a query can have

        ask()
