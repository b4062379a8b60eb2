"""What a committed OpenAPI promises, held against every answer: schemathesis asks for anything."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

_KINDS = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
Real = Mapping[str, st.SearchStrategy[Any]]
"""Values that nobody would think of, by parameter: names of what is there."""


def promises(document: dict[str, Any], base_url: str) -> Any:
    """The document as schemathesis knows it, of what is served at a URL."""
    load_all_checks()
    schema: Any = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=base_url)
    return schema


def ask_anything(
    operation: Any,
    real: Real,
    check: Callable[[Any], None],
    *,
    unfit: Collection[str],
    examples: int,
    chosen_seed: int,
) -> None:
    """Ask an operation `examples` times; every answer passes all checks but the unfit ones."""
    excluded = CHECKS.get_by_names(list(unfit))
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
            kind = data.draw(st.sampled_from(_KINDS))
            case = data.draw(operation.as_strategy(generation_mode=kind))
            if kind is GenerationMode.POSITIVE and data.draw(st.booleans()):
                for values in filter(None, (case.query, case.path_parameters)):
                    values.update({name: data.draw(real[name]) for name in values if name in real})
            check(case.call_and_validate(session=session, excluded_checks=excluded))

        ask()
