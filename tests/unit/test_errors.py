"""The exit codes know errors by name: every name is one."""

import importlib
import sys

import pytest

from tidebook.__main__ import main
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


class Interrupted:
    """Ctrl-C, while the command's own modules are being loaded."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "tidebook.cli":
            raise KeyboardInterrupt


def test_ctrl_c_while_the_command_loads_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tidebook.cli", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
