"""How the API is served to its tests, and how it is asked."""

from collections.abc import Awaitable, Callable
from typing import Any

from api.app import Config, build, server_options
from tests.indexed import Served

Ask = Callable[..., Awaitable[Any]]


def serving(config: Config, host: str = "127.0.0.1", port: int = 0) -> Served:
    """The API as its process runs it, for as long as a test needs it."""
    return Served(build(config), host, port, **server_options())
