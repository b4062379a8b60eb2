"""Options of the command that several of its functions take, with their TIDEBOOK_* variables."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from tidebook.settings import Chain, Flow, Listen, Storage

F = TypeVar("F", bound=Callable[..., Any])


def gather(name: str, make: Callable[..., Any], *options: Callable[[F], F]) -> Callable[[F], F]:
    """Options that reach a command as one value: `make` is called with what they parsed."""
    keys = [parameter.name for parameter in inspect.signature(make).parameters.values()]

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def command(*args: Any, **kwargs: Any) -> Any:
            value = make(**{key: kwargs.pop(key) for key in keys})
            return function(*args, **{name: value}, **kwargs)

        decorated: Any = command
        for option in reversed(options):
            decorated = option(decorated)
        return cast(F, decorated)

    return decorate


def _unless_empty(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """An empty flag is no URL, as an empty variable is none: not whatever libpq would take."""
    return value or None


storage = gather(
    "storage",
    Storage,
    click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path(".tidebook"),
        envvar="TIDEBOOK_DATA_DIR",
        show_default=True,
        help="Home of the embedded servers.",
    ),
    click.option(
        "--database-url",
        envvar="TIDEBOOK_DATABASE_URL",
        callback=_unless_empty,
        help="A Postgres of your own instead of the embedded one.",
    ),
    click.option(
        "--redis-url",
        envvar="TIDEBOOK_REDIS_URL",
        callback=_unless_empty,
        help="A Redis or Valkey of your own instead of the embedded one.",
    ),
)

chain = gather(
    "chain",
    Chain,
    click.option(
        "--rpc",
        "rpc_urls",
        multiple=True,
        envvar="TIDEBOOK_RPC_URLS",
        help="A node's JSON-RPC, http:// or ws://.",
    ),
    click.option(
        "--deployment",
        "deployment_file",
        type=click.Path(dir_okay=False, path_type=Path),
        envvar="TIDEBOOK_DEPLOYMENT",
        help="File that names the contracts to follow; a devnet serves its own.",
    ),
    click.option(
        "--confirmations",
        type=click.IntRange(min=1),
        default=64,
        envvar="TIDEBOOK_CONFIRMATIONS",
        show_default=True,
        help="Blocks until one is final, where the node has no finalized tag.",
    ),
    click.option(
        "--compare-every",
        type=click.IntRange(min=0),
        default=1000,
        envvar="TIDEBOOK_COMPARE_EVERY",
        show_default=True,
        help="Finalized blocks between comparisons with the contracts' getters; 0 for none.",
    ),
)

flow = gather(
    "flow",
    Flow,
    click.option("--seed", type=int, default=1, show_default=True, help="Of the order flow."),
    click.option(
        "--rate",
        type=click.FloatRange(min=0),
        default=8.0,
        show_default=True,
        help="Orders per second; 0 for a quiet chain.",
    ),
    click.option(
        "--block-time",
        "block_time_s",
        type=click.FloatRange(min=0),
        default=1.0,
        show_default=True,
        help="Seconds between blocks; 0 mines each transaction at once.",
    ),
)


port = click.IntRange(1, 65535)
block = click.IntRange(0, 2**63 - 1)
"""What a column of ours holds."""


def listening(service: str, port: int) -> Callable[[F], F]:
    return gather(
        "listen",
        Listen,
        click.option(
            "--host",
            default="127.0.0.1",
            envvar=f"TIDEBOOK_{service}_HOST",
            show_default=True,
        ),
        click.option(
            "--port",
            type=click.IntRange(0, 65535),
            default=port,
            envvar=f"TIDEBOOK_{service}_PORT",
            show_default=True,
        ),
    )
