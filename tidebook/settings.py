"""Settings: flags and TIDEBOOK_* variables, read once, frozen, by nobody else."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from indexer.domain.deployment import Deployment


class BadSetting(ValueError):
    """A wrong or missing setting: one line that names it and says what was expected."""


def is_url(text: str, schemes: tuple[str, ...]) -> bool:
    """Whether it is a URL of one of these schemes: with a port, if any, that can be one."""
    try:
        _ = urlsplit(text).port
    except ValueError:
        return False
    return text.startswith(schemes)


def beginning(url: str) -> str:
    """What may be shown of something that should have been a URL: it may have a password in it."""
    scheme, separator, _ = url.partition("://")
    return f"{scheme}{separator}…" if separator else "something without ://"


@dataclass(frozen=True, slots=True)
class Storage:
    """Where state lives. An unset URL means the embedded server under `data_dir`."""

    data_dir: Path
    database_url: str | None
    redis_url: str | None


@dataclass(frozen=True, slots=True)
class Chain:
    """Which node to ask and which contracts to follow.

    `confirmations`: blocks until one is final, for nodes without a `finalized` tag.
    `compare_every`: finalized blocks between two comparisons with the contracts' getters; 0: never.
    """

    rpc_urls: tuple[str, ...]
    deployment_file: Path | None
    confirmations: int
    compare_every: int = 1000

    @property
    def urls(self) -> tuple[str, ...]:
        """All nodes. Raises BadSetting if there is none, or if one is no URL."""
        if not self.rpc_urls:
            raise BadSetting("--rpc (TIDEBOOK_RPC_URLS) is missing: expected a node's URL")
        for url in self.rpc_urls:
            if not is_url(url, ("http://", "https://", "ws://", "wss://")):
                raise BadSetting(
                    "--rpc (TIDEBOOK_RPC_URLS): expected http://host:port… or ws://…, found "
                    f"{beginning(url)}"
                )
        return tuple(dict.fromkeys(self.rpc_urls))

    @property
    def rpc_url(self) -> str:
        """The first node. Raises BadSetting."""
        return self.urls[0]


@dataclass(frozen=True, slots=True)
class Flow:
    """How the devnet lives: its traders' seed and rate (orders/s), and the time between blocks."""

    seed: int
    rate: float
    block_time_s: float


@dataclass(frozen=True, slots=True)
class Listen:
    """Where a service listens."""

    host: str
    port: int


def read_documents(path: Path) -> dict[str, str]:
    """GraphQL documents by the SHA-256 of their text. Raises BadSetting."""
    name = f"--documents (TIDEBOOK_DOCUMENTS): {path}"
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise BadSetting(f"{name}: {error.strerror}") from error
    except ValueError as error:
        raise BadSetting(f"{name}: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
        raise BadSetting(f"{name}: expected an object of SHA-256 to document")
    for key, text in found.items():
        if hashlib.sha256(text.encode()).hexdigest() != key:
            raise BadSetting(f"{name}: {key} is not the SHA-256 of its document")
    return found


def read_deployment(path: Path) -> Deployment:
    """The deployment in a file. Raises BadSetting."""
    from indexer.domain.deployment import BadDeployment, parse_deployment

    try:
        return parse_deployment(path.read_bytes())
    except OSError as error:
        raise BadSetting(f"--deployment (TIDEBOOK_DEPLOYMENT): {path}: {error.strerror}") from error
    except BadDeployment as error:
        raise BadSetting(f"--deployment (TIDEBOOK_DEPLOYMENT): {path}: {error}") from error


async def find_deployment(chain: Chain) -> Deployment:
    """The deployment file, or what a devnet at one of the RPC URLs serves. Raises BadSetting."""
    if chain.deployment_file is not None:
        return await asyncio.to_thread(read_deployment, chain.deployment_file)
    from indexer.chain.urls import masked

    gone = None
    for url in chain.urls:
        try:
            found = await _served_deployment(url)
        except BadSetting as error:
            gone = gone or error
            continue
        if found is not None:
            return found
    if gone is not None:
        raise gone
    raise BadSetting(
        "--deployment (TIDEBOOK_DEPLOYMENT) is missing: expected a file that names the contracts "
        f"to follow ({masked(chain.urls[0])} serves none; only a devnet does)"
    )


async def _served_deployment(rpc_url: str) -> Deployment | None:
    """What a devnet serves; None from any other node. Raises BadSetting where there is none."""
    import aiohttp

    from indexer.chain.urls import masked, without_secrets
    from indexer.domain.deployment import parse_deployment

    url = rpc_url.replace("ws", "http", 1) if rpc_url[0] == "w" else rpc_url
    timeout = aiohttp.ClientTimeout(total=10)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url.rstrip("/") + "/deployment") as response,
        ):
            return parse_deployment(await response.read()) if response.status == 200 else None
    except (aiohttp.ClientConnectionError, aiohttp.InvalidURL, TimeoutError) as error:
        why = without_secrets(str(error), url) or "timed out"
        raise BadSetting(f"--rpc (TIDEBOOK_RPC_URLS): no node at {masked(url)}: {why}") from error
    except (aiohttp.ClientError, OSError, ValueError):
        return None
