"""The table of methods: a name, its parameters' parsers, a function of the session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from contracts_test.rpc.errors import InvalidParams
from contracts_test.rpc.params import Optional, Parser

Handler = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Method:
    """One entry; `duplex` methods need a websocket."""

    name: str
    params: tuple[Parser | Optional, ...]
    handler: Handler
    duplex: bool = False

    def arguments(self, params: Any) -> list[Any]:
        """Parsed arguments. Raises InvalidParams for too few, too many or malformed ones."""
        if params is None:
            params = []
        if isinstance(params, dict):
            params = [params]  # anvil takes a lone object for the only parameter
        if not isinstance(params, list):
            raise InvalidParams("params must be an array")
        if len(params) > len(self.params):
            raise InvalidParams(f"{self.name} takes {len(self.params)}, found {len(params)}")
        arguments = []
        for i, parser in enumerate(self.params):
            value = params[i] if i < len(params) else None
            if isinstance(parser, Optional):
                arguments.append(parser.default if value is None else parser.parser(value))
            elif i >= len(params):
                raise InvalidParams(f"{self.name} misses parameter {i + 1} of {len(self.params)}")
            else:
                arguments.append(parser(value))
        return arguments


class Table:
    """Methods by name; modules fill one each."""

    def __init__(self) -> None:
        self.methods: dict[str, Method] = {}

    def method(
        self, *names: str, params: tuple[Parser | Optional, ...] = (), duplex: bool = False
    ) -> Callable[[Handler], Handler]:
        """Registers a function under one or several names."""

        def register(handler: Handler) -> Handler:
            for name in names:
                assert name not in self.methods, f"{name} is registered twice"
                self.methods[name] = Method(name, params, handler, duplex)
            return handler

        return register
