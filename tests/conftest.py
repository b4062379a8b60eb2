"""Real parts for every test: one Postgres and one Valkey a session, a fresh database a test."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

import migrations
from indexer.chain.recording import Recording
from tests.indexed import Indexed
from tests.indexed import indexed as index
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
    """Embedded Postgres and Valkey, gone with the session.

    Nothing in it outlives the machine, so nobody waits for a disk.
    """
    with embedded.servers(tmp_path_factory.mktemp("servers")) as urls:
        asyncio.run(_execute(urls, "alter system set fsync = off", "select pg_reload_conf()"))
        yield urls


@pytest.fixture(scope="session")
def template(servers: embedded.Urls) -> str:
    """The name of a database with the schema and nothing in it, to be copied."""
    name = "template_of_tests"
    asyncio.run(_execute(servers, f"create database {name}"))
    asyncio.run(migrations.upgrade(_named(servers, name)))
    return name


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of recorded chains, each with what its contracts' getters said at the end."""
    return RECORDINGS


@pytest.fixture(scope="session")
def indexed(servers: embedded.Urls, recordings: Path) -> Indexed:
    """`gtx_main`, indexed once by the real writer. Who changes a row of it puts it back."""
    return index(servers.database_url, Recording(recordings / "gtx_main.jsonl.gz"))


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def empty_database_url(servers: embedded.Urls) -> str:
    """A database without a schema."""
    return await _create_database(servers)


@pytest.fixture
async def database_url(servers: embedded.Urls, template: str) -> str:
    """A database with the schema and nothing in it."""
    return await _create_database(servers, template)


@pytest.fixture
async def other_database_url(servers: embedded.Urls, template: str) -> str:
    """A second one of the same kind, for what must end equal."""
    return await _create_database(servers, template)


async def _create_database(servers: embedded.Urls, template: str = "template1") -> str:
    name = f"test_{next(_numbers)}"
    await _execute(servers, f"create database {name} template {template}")
    return _named(servers, name)


def _named(servers: embedded.Urls, name: str) -> str:
    return servers.database_url.replace("/postgres?", f"/{name}?")


async def _execute(servers: embedded.Urls, *statements: str) -> None:
    connection: Any = await asyncpg.connect(servers.database_url)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


@pytest.fixture
def redis_url(servers: embedded.Urls) -> str:
    """A Valkey database of one's own, out of its sixteen."""
    return f"{servers.redis_url}?db={next(_numbers) % 16}"
