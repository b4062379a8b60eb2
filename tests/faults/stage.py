"""A stage for bad days: a devnet with traders and reorgs, real servers, a writer and a relay.

The writer and the relay are processes; servers are ours alone, so that they can be ended. After
each fault the stage is asked whether everything is as it would be without: `check`.
"""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import redis.asyncio as redis

import migrations
from contracts_test.flow.drive import Driver, LocalTransport
from contracts_test.node import Config, Devnet
from indexer.chain.node import Node
from indexer.chain.steps import Follower
from indexer.domain.canon import Canon
from indexer.domain.deployment import parse_deployment
from indexer.follow import follow
from indexer.store.writer import open_store
from indexer.wire import STREAMS, stream_key
from tests.faults.processes import Service, running
from tests.faults.proxy import Proxy, proxy
from tests.outbox import outbox
from tests.store.chains import tables
from tidebook import embedded

CHAIN_ID = 31337
DEADLINE_S = 60.0
BLOCK_S = 0.2
ORDERS_A_BLOCK = 4
BLOCKS_A_REORG = 5
START_BLOCKS = 3
"""In which the exchange is deployed and the traders get their money."""
DEEPEST_REORG = 6
"""Less than the devnet's distance of finality."""


class Reached(Exception):
    """The clean run is at the head."""


class Stage:
    """Everything, running."""

    def __init__(self, folder: Path, devnet: Devnet, seed: int, opened: AsyncExitStack) -> None:
        self.folder = folder
        self.devnet = devnet
        self.draw = random.Random(seed)
        self.database_url = self.redis_url = self.through = ""
        """`through` is the database's URL by way of the proxy."""
        self.proxy: Proxy
        self.postgres: asyncpg.Connection[asyncpg.Record]
        self.redis: redis.Redis
        self.trading: asyncio.Task[None]
        self.writer: Service
        self.relay: Service
        self.reorgs = 0
        self._seed = seed
        self._opened = opened
        self._runs = 0
        self._quiet = asyncio.Lock()

    # -- the market -------------------------------------------------------------------------------

    async def trade(self) -> None:
        """Blocks with orders, and a reorg now and then, until cancelled."""
        exchange = self.devnet.exchange
        assert exchange is not None
        driver = Driver(exchange, LocalTransport(self.devnet.node), self._seed)
        await driver.set_automine(False)
        await driver.open(mine=True)
        while True:
            async with self._quiet:
                await driver.learn()
                await driver.send_intents(driver.flow.turns(ORDERS_A_BLOCK))
                await driver.mine()
                if self.devnet.chain.head.number % BLOCKS_A_REORG == 0:
                    traded = self.devnet.chain.head.number - START_BLOCKS
                    depth = min(self.draw.randint(1, DEEPEST_REORG), traded)
                    self.devnet.chain.fork(depth, keep=lambda tx: self.draw.random() < 0.8)
                    self.reorgs += 1
                    driver.forget_nonces()
            await asyncio.sleep(BLOCK_S)

    # -- who works --------------------------------------------------------------------------------

    async def start_writer(self) -> Service:
        """A writer in a process of its own."""
        node = self.devnet.url.replace("http", "ws", 1)
        where = ("--rpc", node, "--database-url", self.through, "--compare-every", "0")
        return await self._opened.enter_async_context(running("index", *where))

    async def start_relay(self) -> Service:
        """A relay in a process of its own."""
        where = ("--database-url", self.through, "--redis-url", self.redis_url)
        return await self._opened.enter_async_context(running("relay", *where))

    # -- what happens to the servers --------------------------------------------------------------

    def kill_server(self, kind: str, number: int) -> None:
        os.kill(int((self.folder / kind / "server.lock").read_text()), number)

    async def start_servers(self) -> None:
        """Bring back what has been killed, once it is gone."""

        async def gone() -> bool:
            return bool(embedded.lost(self.folder))

        def start() -> None:
            with embedded.servers(self.folder):
                pass  # our own seat keeps them

        await _until(gone, "the end of a server")
        await asyncio.to_thread(start)
        if self.postgres.is_closed():
            self.postgres = await asyncpg.connect(self.database_url)

    # -- what comes of it -------------------------------------------------------------------------

    async def told(self) -> int:
        """The newest seq in Redis that the writer has also told in Postgres."""
        return min(await self._relayed(), await self._seq())

    async def postgres_grows(self) -> None:
        """The writer writes on, whatever the relay does."""
        before = await self._seq()

        async def grown() -> bool:
            return await self._seq() > before

        await _until(grown, f"more rows than seq {before}")

    async def _seq(self) -> int:
        if self.trading.done():
            self.trading.result()  # which is an error: the market never closes
        return int(await self.postgres.fetchval("select seq from tidebook.cursors") or 0)

    async def goes_on(self) -> None:
        """Writer and relay tell news: what was stored before this call is not enough."""
        before = await self._seq()
        await _until(lambda: self._past(before), f"news after seq {before}")

    async def _past(self, seq: int) -> bool:
        return await self.told() > seq

    async def check(self) -> None:
        """With the market standing still, everything is as without any fault."""
        async with self._quiet:
            await _until(self._is_level, "writer and relay to be level with the node")
            await self._check_messages()
            clean = await self._clean_run()
            found = await tables(self.database_url)
            for name, rows in (await tables(clean)).items():
                assert found[name] == rows, f"seed {self._seed}: {name} is not as in a clean run"

    async def check_streams(self) -> None:
        """The part of `check` that a relay or a Redis could spoil."""
        async with self._quiet:
            await _until(self._is_level, "writer and relay to be level with the node")
            await self._check_messages()

    async def _check_messages(self) -> None:
        """The outbox has no gap, each channel is linked, and the streams are the outbox."""
        rows = await outbox(self.postgres)
        seqs = [row.seq for row in rows]
        assert seqs == list(range(seqs[0], await self.told() + 1)), f"seed {self._seed}"
        assert await self._streams() == [(row.seq, row.message.decode()) for row in rows]
        newest: dict[str, int] = {}
        for row in rows:
            previous = msgspec.json.decode(row.message)["prev_seq"]
            assert previous == newest.get(row.channel, previous), f"seed {self._seed}: {row}"
            newest[row.channel] = row.seq

    async def _is_level(self) -> bool:
        """At the node's head, all that it calls safe and final said, and all of it in Redis."""
        cursor = await self.postgres.fetchrow("select * from tidebook.cursors")
        assert cursor is not None
        head, rules = self.devnet.chain.head, self.devnet.chain.rules
        stands = (cursor["block_hash"], cursor["safe_number"], cursor["finalized_number"])
        distances = rules.safe_distance, rules.finalized_distance
        wanted = tuple(max(0, head.number - distance) for distance in distances)
        return stands == (head.hash, *wanted) and await self._relayed() == cursor["seq"]

    async def _relayed(self) -> int:
        return int(await self.redis.hget(f"tidebook:{CHAIN_ID}:relay", "seq") or 0)

    async def _streams(self) -> list[tuple[int, str]]:
        found: list[tuple[int, str]] = []
        for stream in STREAMS:
            kept: Any = await self.redis.xrange(stream_key(CHAIN_ID, stream))
            found += [(int(id_.split(b"-")[0]), fields[b"m"].decode()) for id_, fields in kept]
        return sorted(found)

    async def _clean_run(self) -> str:
        """The node's chain, indexed in one go into a database of its own."""
        self._runs += 1
        name = f"clean_{self._runs}"
        await self.postgres.execute(f"create database {name} template empty")
        url = self.database_url.replace("/stage?", f"/{name}?")
        exchange = self.devnet.exchange
        assert exchange is not None
        deployment = parse_deployment(msgspec.json.encode(exchange.deployment()))
        node = await Node.open(self.devnet.url, deployment)
        store = await open_store(url, deployment)

        def stop(canon: Canon, blocks: int, events: int, node_head: int) -> None:
            assert canon.head is not None
            if canon.head.hash == "0x" + self.devnet.chain.head.hash.hex():
                raise Reached

        try:
            await follow(store, lambda canon, m: Follower(node, canon, deployment, m.books), stop)
        except Reached:
            return url
        finally:
            await store.close()
            await node.close()
        raise AssertionError("a node's heads never end")


@asynccontextmanager
async def stage(folder: Path, seed: int) -> AsyncIterator[Stage]:
    """A stage on which the market is open, and the writer and the relay are level with it."""
    print(f"seed {seed}")  # noqa: T201  # shown with a failure, and enough to repeat it
    async with AsyncExitStack() as opened:
        urls = opened.enter_context(embedded.servers(folder))
        devnet = await opened.enter_async_context(Devnet(Config(port=0, timestamp_step_s=1)))
        on = Stage(folder, devnet, seed, opened)
        on.database_url, on.redis_url = await _databases(urls.database_url), urls.redis_url
        sockets = folder / "between"
        sockets.mkdir()
        on.proxy, on.through = await opened.enter_async_context(proxy(on.database_url, sockets))
        on.postgres = await asyncpg.connect(on.database_url)
        on.redis = redis.from_url(on.redis_url, protocol=2)
        opened.push_async_callback(on.redis.aclose)
        on.trading = asyncio.create_task(on.trade())
        opened.push_async_callback(_end, on.trading)
        on.writer, on.relay = await on.start_writer(), await on.start_relay()
        await on.goes_on()
        yield on
        await on.postgres.close()


async def _databases(url: str) -> str:
    """An empty database with the schema, and one to copy it from."""
    connection = await asyncpg.connect(url)
    await connection.execute("create database empty")
    await migrations.upgrade(url.replace("/postgres?", "/empty?"))
    await connection.execute("create database stage template empty")
    await connection.close()
    return url.replace("/postgres?", "/stage?")


async def _until(condition: Callable[[], Any], what: str) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await condition():
            await asyncio.sleep(0.02)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


SIGQUIT, SIGKILL = signal.SIGQUIT, signal.SIGKILL
