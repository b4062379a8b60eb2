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
    from contracts_test.node import Devnet
    from contracts_test.story import ChainBuilder

GENESIS_TIMESTAMP = 1_700_000_000
CALL_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class RunningDevnet:
    """A devnet in a thread of its own."""

    devnet: Devnet
    exchange: Exchange
    url: str
    ws_url: str
    deployment: dict[str, Any]
    within: Callable[[Callable[[], Any]], Any]
    """Runs a function in the devnet's thread, where its chain may be touched."""


@pytest.fixture
def devnet() -> Iterator[RunningDevnet]:
    """A node on a free port with the exchange deployed, mining every transaction at once."""
    from contracts_test.node import Config, Devnet

    config = Config(port=0, genesis_timestamp=GENESIS_TIMESTAMP, timestamp_step_s=1)
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
        assert made.exchange is not None, "the configuration asks for a deployment"
        try:
            yield RunningDevnet(
                devnet=made,
                exchange=made.exchange,
                url=made.url,
                ws_url=made.url.replace("http", "ws", 1),
                deployment=made.exchange.deployment(),
                within=within,
            )
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
