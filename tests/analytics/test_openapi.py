"""What the committed OpenAPI promises is what is answered: schemathesis asks for anything."""

import json
from typing import Any

import pytest
from hypothesis import strategies as st

from analytics import openapi
from tests.indexed import Indexed
from tests.promised import ask_anything, promises

DOCUMENT: dict[str, Any] = json.loads(openapi.FILE.read_text())


@pytest.fixture(scope="session")
def promised(base_url: str) -> Any:
    return promises(DOCUMENT, base_url)


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
    def check(response: Any) -> None:
        if response.status_code >= 400 and "json" in response.headers["content-type"][0]:
            error = response.json()["error"]
            assert error["code"] in ("BAD_INPUT", "NOT_FOUND")
            assert "field" in error  # "" is a name that a query can have

    ask_anything(
        promised[path]["GET"],
        real,
        check,
        # A well-formed symbol need not be a market's, nor a well-formed number a block's.
        unfit=["positive_data_acceptance"],
        examples=examples,
        chosen_seed=chosen_seed,
    )
