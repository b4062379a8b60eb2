"""A whole Tidebook for a story."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.story.market import Market, gone, until


@pytest.fixture
async def market(tmp_path: Path) -> AsyncIterator[Market]:
    """`tidebook up`, not started yet."""
    market = Market(tmp_path)
    yield market
    if market.process is not None:
        await market.stop(signal.SIGKILL)
        await until(lambda: gone(market), "every process to end")
