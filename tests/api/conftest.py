"""The API served over the indexed chain."""

from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from api.app import Config
from tests.api.served import Ask, serving
from tests.indexed import Indexed, in_a_thread


@pytest.fixture(scope="session")
def base_url(indexed: Indexed) -> Iterator[str]:
    """The API over the indexed chain, on a free port, in a thread and a loop of its own."""
    with in_a_thread(lambda: serving(Config(indexed.database_url, indexed.chain_id))) as url:
        yield url


@pytest.fixture
async def ask_all(base_url: str, http: aiohttp.ClientSession) -> Ask:
    """Ask GraphQL; the whole answer."""

    async def ask(query: str, **variables: object) -> Any:
        body = {"query": query, "variables": variables}
        async with http.post(f"{base_url}/graphql", json=body) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    return ask


@pytest.fixture
async def ask(ask_all: Ask) -> Ask:
    """Ask GraphQL; the data of an answer without errors."""

    async def ask(query: str, **variables: object) -> Any:
        answer = await ask_all(query, **variables)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    return ask
