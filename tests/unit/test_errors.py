"""The exit codes know errors by name: every name is one."""

import importlib

import pytest

from tidebook.errors import CALLERS, OPERATORS, exit_code


@pytest.mark.parametrize(
    "name", sorted(CALLERS | OPERATORS | {"tidebook.supervised.ServiceFailed"})
)
def test_every_name_is_an_exceptions(name: str) -> None:
    module, _, error = name.rpartition(".")
    found = getattr(importlib.import_module(module), error)
    assert issubclass(found, Exception)
    assert f"{found.__module__}.{found.__qualname__}" == name


def test_what_nobody_expected_keeps_its_traceback() -> None:
    assert exit_code(KeyError("x")) is None
