"""What the committed OpenAPI promises is what is answered: schemathesis asks for anything."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from api.rest import openapi
from tests.api.served import Indexed

DOCUMENT: dict[str, Any] = json.loads(
    (Path(openapi.__file__).parents[1] / "openapi.json").read_text()
)


@pytest.fixture(scope="session")
def promised(base_url: str) -> Any:
    load_all_checks()
    schema: Any = schemathesis.openapi.from_dict(DOCUMENT)
    schema.config.update(base_url=base_url)
    return schema


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
    operation = promised[path]["GET"]
    kinds = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
    # A well-formed name need not be a market's, and some parameters exclude each other. Schemas of
    # tuples are beyond schemathesis: answers are held against them here.
    unfit = CHECKS.get_by_names(["positive_data_acceptance", "response_schema_conformance"])
    told = DOCUMENT["paths"][path]["get"]["responses"]
    components = {"components": DOCUMENT["components"]}
    holds = {
        int(status): jsonschema_rs.validator_for(
            one["content"]["application/json"]["schema"] | components
        )
        for status, one in told.items()
        if "content" in one
    }
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
            if kind is GenerationMode.POSITIVE and case.query and data.draw(st.booleans()):
                case.query |= {name: data.draw(real[name]) for name in case.query if name in real}
            response = case.call_and_validate(session=session, excluded_checks=unfit)
            holds[response.status_code].validate(response.json())

        ask()
