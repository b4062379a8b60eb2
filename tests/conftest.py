"""Real parts for every test: one Postgres and one Valkey a session, a fresh database a test."""

import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

import migrations
from tidebook import embedded

RECORDINGS = Path(__file__).parent / "golden" / "recordings"

_numbers = itertools.count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--examples", type=int, default=5, help="questions that each fuzz test asks")
    parser.addoption("--seed", type=int, help="what a fuzz test begins with; else a random one")


@pytest.fixture(scope="session")
def examples(request: pytest.FixtureRequest) -> int:
    """How many questions a fuzz test asks."""
    number: int = request.config.getoption("--examples")
    return number


@pytest.fixture
def chosen_seed(request: pytest.FixtureRequest) -> int:
    """What a fuzz test begins with; a failing one shows it."""
    given: int | None = request.config.getoption("--seed")
    number = random.randrange(2**32) if given is None else given
    print(f"again: --seed {number}")  # noqa: T201
    return number


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[embedded.Urls]:
    """Embedded Postgres and Valkey, gone with the session."""
    with embedded.servers(tmp_path_factory.mktemp("servers")) as urls:
        yield urls


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of recorded chains, each with what its contracts' getters said at the end."""
    return RECORDINGS


@pytest.fixture
async def empty_database_url(servers: embedded.Urls) -> str:
    """A database without a schema."""
    return await _create_database(servers)


@pytest.fixture
async def database_url(servers: embedded.Urls) -> str:
    """A database with the schema and nothing in it."""
    return await _migrated(servers)


@pytest.fixture
async def other_database_url(servers: embedded.Urls) -> str:
    """A second one of the same kind, for what must end equal."""
    return await _migrated(servers)


async def _migrated(servers: embedded.Urls) -> str:
    url = await _create_database(servers)
    await migrations.upgrade(url)
    return url


async def _create_database(servers: embedded.Urls) -> str:
    name = f"test_{next(_numbers)}"
    connection: Any = await asyncpg.connect(servers.database_url)
    await connection.execute(f"create database {name}")
    await connection.close()
    return servers.database_url.replace("/postgres?", f"/{name}?")


@pytest.fixture
def redis_url(servers: embedded.Urls) -> str:
    """A Valkey database of one's own, out of its sixteen."""
    return f"{servers.redis_url}?db={next(_numbers) % 16}"
