"""How analytics is served to its tests, and how it is asked."""

from collections.abc import Awaitable, Callable
from typing import Any

from analytics.app import Config, build
from tests.indexed import Served

Get = Callable[..., Awaitable[Any]]


def serving(config: Config) -> Served:
    """Analytics as its process runs it, for as long as a test needs it."""
    return Served(build(config))
