"""The devnet as a server: JSON-RPC over HTTP and websocket, chaos knobs, the deployment file.

async with Devnet(Config()) as devnet:
    print(devnet.url)
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from contracts_test.accounts import ADDRESSES, KEY_OF
from contracts_test.chain import Chain, Rules
from contracts_test.chaos import Chaos
from contracts_test.engine import TxFields
from contracts_test.exchange import Exchange, deployment_steps
from contracts_test.rpc.node import Node

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette

    from contracts_test.flow.drive import FlowConfig
    from contracts_test.keeper import Keeper

BOOT_GAS = 5_000_000
BOOT_FEE = 10**12


class PortInUse(OSError):
    """Something else listens on the port the devnet was told to use."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"port {port} on {host} is in use; choose another with --port")
        self.host = host
        self.port = port


@dataclass(frozen=True, slots=True)
class Config:
    """How a devnet is to be. Times in seconds, distances in blocks.

    Equal `genesis_timestamp` and `timestamp_step_s` give equal block hashes; with neither, blocks
    carry wall-clock time. `block_time_s` 0 mines every transaction at once.

    With a `data_dir` the chain is kept in `<data_dir>/devnet` and goes on from there at the next
    start, also after a kill; without one it ends with the process.
    """

    host: str = "127.0.0.1"
    port: int = 8545
    chain_id: int = 31337
    block_time_s: float = 0
    genesis_timestamp: int | None = None
    timestamp_step_s: int | None = None
    safe_distance: int = 4
    finalized_distance: int = 8
    state_history: int = 1_024
    deploy: bool = True
    data_dir: Path | None = None
    access_log: bool = field(default=False, kw_only=True)


def build_node(config: Config) -> tuple[Node, Exchange | None]:
    """A node without a server, the exchange deployed in its first block.

    With a `data_dir` the kept node, which has a `keeper` to be closed in the end. Raises
    DataDirError when that directory can not be used.
    """
    if config.data_dir is None:
        node = _fresh_node(config, config.genesis_timestamp)
        return node, deploy(node.chain) if config.deploy else None
    from contracts_test.keeper import Keeper

    keeper = Keeper(config.data_dir)
    try:
        return _kept_node(config, keeper)
    except BaseException:
        keeper.close()
        raise


def _kept_node(config: Config, keeper: Keeper) -> tuple[Node, Exchange | None]:
    about = keeper.load()
    if about is None:
        node = _fresh_node(config, config.genesis_timestamp)
        exchange = deploy(node.chain) if config.deploy else None
        keeper.begin(node, exchange)
        return node, exchange
    if about.chain_id != config.chain_id:
        raise keeper.other_chain("chain id", about.chain_id, config.chain_id)
    if config.genesis_timestamp not in (None, about.genesis_timestamp):
        began, asked = about.genesis_timestamp, config.genesis_timestamp
        raise keeper.other_chain("genesis timestamp", began, asked)
    node = _fresh_node(config, about.genesis_timestamp)
    keeper.restore(node)
    return node, about.exchange()


def _fresh_node(config: Config, genesis: int | None) -> Node:
    from contracts_test.pyevm import PyEvmEngine  # py-evm takes half a second to import

    if genesis is None:
        genesis = int(time.time()) - 1
    rules = Rules(
        chain_id=config.chain_id,
        genesis_timestamp=genesis,
        timestamp_step_s=config.timestamp_step_s,
        safe_distance=config.safe_distance,
        finalized_distance=config.finalized_distance,
        state_history=config.state_history,
    )
    chain = Chain(PyEvmEngine(config.chain_id), rules)
    return Node(chain, Chaos())


def deploy(chain: Chain) -> Exchange:
    """Puts the exchange on a chain in one block, from the first of the ten accounts."""
    deployer, fee_receiver = ADDRESSES[0], ADDRESSES[9]
    first = chain.account_nonce(deployer)
    steps, exchange = deployment_steps(
        deployer, fee_receiver, chain.rules.chain_id, chain.head.number + 1, first
    )
    automine, chain.automine = chain.automine, False
    for nonce, step in enumerate(steps, start=first):
        fields = TxFields(nonce, step.to, 0, BOOT_GAS, step.data, None, BOOT_FEE, 0)
        chain.admit(chain.engine.sign(fields, KEY_OF[deployer]))
    # Gas limits are generous, so one block could seem too full for all: lift its limit for once.
    limit = chain.rules.gas_limit
    chain.set_gas_limit(BOOT_GAS * len(steps))
    (block,) = chain.mine()
    chain.set_gas_limit(limit)
    chain.automine = automine
    assert len(block.txs) == len(steps), "the whole exchange is in one block"
    assert all(made.succeeded for made in block.receipts), "and every part of it stands"
    return exchange


class Devnet:
    """A node with its server and its miner; an async context manager."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.node, self.exchange = build_node(config)
        self._socket: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        self._interval_changed = asyncio.Event()

    @property
    def chain(self) -> Chain:
        """The chain behind the node."""
        return self.node.chain

    @property
    def port(self) -> int:
        """The port in use, also when the configuration says 0."""
        assert self._socket is not None, "the devnet is not started"
        port: int = self._socket.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Where to send JSON-RPC; the websocket is at the same place."""
        return f"http://{self.config.host}:{self.port}"

    async def start(self) -> None:
        """Listens and mines. Raises PortInUse."""
        import uvicorn

        from contracts_test.http import build_app

        config = self.config
        self._socket = _bind(config.host, config.port)
        app: Starlette = build_app(self.node, self.exchange)
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=config.access_log,
                ws="websockets-sansio",
                ws_max_size=64 * 1024 * 1024,
                lifespan="off",
                timeout_graceful_shutdown=1,
            )
        )
        # Signals belong to whoever runs the process, not to one server in it.
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
        self._server = server
        self._tasks.append(asyncio.create_task(server.serve(sockets=[self._socket])))
        self.node.on_interval.append(self._interval_changed.set)
        if config.block_time_s:
            self.node.chain.automine = False
            self.node.set_interval(config.block_time_s)
        self._tasks.append(asyncio.create_task(self._mine_by_interval()))
        while not server.started:
            if self._tasks[0].done():
                self._tasks[0].result()
                raise RuntimeError("the server ended before it began")
            await asyncio.sleep(0.005)

    async def _mine_by_interval(self) -> None:
        node = self.node
        due: float | None = None
        while True:
            if not node.interval_s:
                due = None
                await self._interval_changed.wait()
                self._interval_changed.clear()
                continue
            now = time.monotonic()
            due = now + node.interval_s if due is None else max(due + node.interval_s, now)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(due - now):  # 3.11's wait_for can lose a cancellation
                    await self._interval_changed.wait()
                self._interval_changed.clear()
                due = None
                continue
            node.chain.mine()

    def start_flow(self, flow: FlowConfig) -> None:
        """Lets traders loose on the exchange."""
        from contracts_test.flow.drive import LocalTransport, run

        assert self.exchange is not None, "there is nothing to trade on without contracts"
        trading = run(self.exchange, LocalTransport(self.node), flow)
        self._tasks.append(asyncio.create_task(trading))

    async def wait(self) -> None:
        """Returns when the server has ended. A failure of miner or traders is raised here."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def stop(self) -> None:
        """Closes connections, frees the port and the directory."""
        if self._server is not None:
            self._server.should_exit = True
        serving, others = self._tasks[:1], self._tasks[1:]
        for task in others:
            task.cancel()
        try:
            await asyncio.gather(*serving)
            await asyncio.gather(*others, return_exceptions=True)
        finally:
            if self._socket is not None:
                self._socket.close()
            self._tasks.clear()
            if self.node.keeper is not None:
                self.node.keeper.close()

    async def __aenter__(self) -> Devnet:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()


async def serve(
    config: Config,
    flow: FlowConfig | None = None,
    on_ready: Callable[[Devnet], None] | None = None,
) -> None:
    """Runs a devnet until cancelled, with traders on it if `flow` is given. Raises PortInUse."""
    async with Devnet(config) as devnet:
        if on_ready is not None:
            on_ready(devnet)
        if flow is not None and devnet.exchange is not None:
            devnet.start_flow(flow)
        await devnet.wait()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        import errno

        if error.errno == errno.EADDRINUSE:
            raise PortInUse(host, port) from error
        raise
    return listener
