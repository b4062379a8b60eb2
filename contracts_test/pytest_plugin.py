"""Fixtures for other people's tests; loaded by pytest through its `pytest11` entry point.

    def test_a_reorg_takes_back_the_trade(chain):
        chain.run(place("alice", sell=5, at=100), mine(), place("bob", buy=5, at=100), mine())
        chain.run(fork(depth=1, instead=[mine()]))
        assert chain.trades() == []

`chain` lives in the test's own thread and serves nothing; `devnet` is a node with URLs, and
`devnet_chain` speaks in sentences to that node. Both are new for every test, and both give the same
block hashes every time.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from contracts_test.exchange import Exchange
    from contracts_test.node import Config, Devnet
    from contracts_test.story import ChainBuilder

GENESIS_TIMESTAMP = 1_700_000_000
CALL_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class RunningDevnet:
    """A devnet in a thread of its own."""

    devnet: Devnet
    url: str
    ws_url: str
    within: Callable[[Callable[[], Any]], Any]
    """Runs a function in the devnet's thread, where its chain may be touched."""

    @property
    def exchange(self) -> Exchange:
        """What is deployed."""
        assert self.devnet.exchange is not None, "this devnet was told to deploy nothing"
        return self.devnet.exchange

    @property
    def deployment(self) -> dict[str, Any]:
        """The deployment file, as GET /deployment serves it."""
        return self.exchange.deployment()


@pytest.fixture
def devnet() -> Iterator[RunningDevnet]:
    """A node on a free port with the exchange deployed, mining every transaction at once."""
    from contracts_test.node import Config

    yield from running(Config(port=0, genesis_timestamp=GENESIS_TIMESTAMP, timestamp_step_s=1))


def running(config: Config) -> Iterator[RunningDevnet]:
    """A devnet of any kind in a thread of its own, for fixtures to `yield from`."""
    from contracts_test.node import Devnet

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="tidebook-devnet", daemon=True)
    thread.start()

    async def start() -> Devnet:
        made = Devnet(config)
        await made.start()
        return made

    async def call(function: Callable[[], Any]) -> Any:
        return function()

    def within(function: Callable[[], Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(call(function), loop).result(CALL_TIMEOUT_S)

    try:
        made = asyncio.run_coroutine_threadsafe(start(), loop).result(CALL_TIMEOUT_S)
        try:
            yield RunningDevnet(made, made.url, made.url.replace("http", "ws", 1), within)
        finally:
            asyncio.run_coroutine_threadsafe(made.stop(), loop).result(CALL_TIMEOUT_S)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(CALL_TIMEOUT_S)
        loop.close()


@pytest.fixture
def exchange(devnet: RunningDevnet) -> Exchange:
    """The exchange on the `devnet`."""
    return devnet.exchange


@pytest.fixture
def devnet_chain(devnet: RunningDevnet) -> ChainBuilder:
    """Sentences for the `devnet`."""
    from contracts_test.story import ChainBuilder

    return ChainBuilder(devnet.devnet.chain, devnet.exchange, devnet.within)


@pytest.fixture
def chain() -> ChainBuilder:
    """Sentences for a chain without a server."""
    from contracts_test.node import Config, build_node
    from contracts_test.story import ChainBuilder

    node, exchange = build_node(Config(genesis_timestamp=GENESIS_TIMESTAMP, timestamp_step_s=1))
    assert exchange is not None, "the configuration asks for a deployment"
    return ChainBuilder(node.chain, exchange)
