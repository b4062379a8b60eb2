"""What the committed OpenAPI promises is what is answered: schemathesis asks for anything."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import strategies as st

from api.rest import openapi
from tests.indexed import Indexed
from tests.promised import ask_anything, promises

DOCUMENT: dict[str, Any] = json.loads(
    (Path(openapi.__file__).parents[1] / "openapi.json").read_text()
)


@pytest.fixture(scope="session")
def promised(base_url: str) -> Any:
    return promises(DOCUMENT, base_url)


@pytest.fixture(scope="session")
def real(indexed: Indexed) -> dict[str, st.SearchStrategy[str]]:
    """Values that nobody would think of: names of markets and accounts that are there."""
    names = sorted({m.symbol for m in indexed.mirror.markets.rows.values()})
    return {
        "symbol": st.sampled_from(names),
        "ticker_id": st.sampled_from([name.replace("-", "_") for name in names]),
        "symbols": st.sampled_from([json.dumps(names[:2]), json.dumps(names[:1])]),
        "address": st.sampled_from(sorted({one.maker for one in indexed.trades})[:5]),
    }


@pytest.mark.parametrize("path", DOCUMENT["paths"])
def test_nothing_that_can_be_asked_breaks_the_promise(
    promised: Any, real: dict[str, Any], path: str, examples: int, chosen_seed: int
) -> None:
    told = DOCUMENT["paths"][path]["get"]["responses"]
    components = {"components": DOCUMENT["components"]}
    holds = {
        int(status): jsonschema_rs.validator_for(
            one["content"]["application/json"]["schema"] | components
        )
        for status, one in told.items()
        if "content" in one
    }
    ask_anything(
        promised[path]["GET"],
        real,
        lambda response: holds[response.status_code].validate(response.json()),
        # A well-formed name need not be a market's, and some parameters exclude each other. Schemas
        # of tuples are beyond schemathesis: answers are held against them here.
        unfit=["positive_data_acceptance", "response_schema_conformance"],
        examples=examples,
        chosen_seed=chosen_seed,
    )
