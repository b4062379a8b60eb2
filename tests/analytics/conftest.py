"""Analytics served over the indexed chain."""

from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from analytics.app import Config
from tests.analytics.served import Get, serving
from tests.indexed import Indexed, in_a_thread


@pytest.fixture(scope="session")
def base_url(indexed: Indexed) -> Iterator[str]:
    """Analytics over the indexed chain, on a free port, in a thread and a loop of its own."""
    with in_a_thread(lambda: serving(Config(indexed.database_url, indexed.chain_id))) as url:
        yield url


@pytest.fixture
async def get(base_url: str, http: aiohttp.ClientSession) -> Get:
    """GET a path with parameters; the JSON of an answer of the status expected."""

    async def ask(path: str, expected: int = 200, /, **parameters: object) -> Any:
        query = {name: str(value) for name, value in parameters.items()}
        async with http.get(base_url + path, params=query) as response:
            said = await response.text()
            assert response.status == expected, said[:300]
            return await response.json()

    return ask
