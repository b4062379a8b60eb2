"""One seed, one run: a writer, a relay and clients live and die on one virtual clock.

At the end faults stop and the chain stands still. Then everything must be as if there had been one
writer, one life and one branch: the tables, the outbox, the streams, and what clients believe.
"""

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

from indexer import wire
from indexer.chain.errors import ChainError
from indexer.chain.node import Node
from indexer.chain.rpc import Rpc
from indexer.chain.steps import Follower
from indexer.decode import created_tokens
from indexer.domain.canon import Canon
from indexer.domain.step import Advance, Step
from indexer.follow import follow
from indexer.memory_streams import MemoryOutbox, MemoryStreams, Redis
from indexer.mirror.fold import Mirror
from indexer.relay import RedisChanged, Relay
from indexer.store import tables
from indexer.store.memory import Disk, MemoryDatabase
from indexer.store.writer import Store
from tests.simulation import clock
from tests.simulation.client import Client
from tests.simulation.node import FaultyNode
from tests.simulation.world import World, tape

EVENTS = (8, 30)
"""Fewest and most things that happen to the chain in one run."""
SETTLE_S = 300.0
DECIDED = (
    *(tables.tokens, tables.markets, tables.orders, tables.levels, tables.balances),
    *(tables.candles, tables.events, tables.trades, tables.order_changes),
    *(tables.level_changes, tables.balance_changes, tables.divergences),
)
"""Tables that the winning branch alone decides."""


class Lost(ConnectionError):
    """The connection broke."""


class Killed(BaseException):
    """The process is no more. Nothing may catch it."""


class Failure(AssertionError):
    """A run that did not end as it must."""


class Run:
    """All of one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.seen: Counter[str] = Counter()
        """Interesting cases that really occurred, for the 'sometimes' assertions."""
        self._draw = random.Random(seed)
        self._hash = hashlib.sha256()
        self.world = World(self._draw)
        self.node = FaultyNode(self.world, self._draw, self.seen)
        self.disk = Disk()
        self.redis = Redis()
        self.told: dict[tuple[str, int], str] = {}
        self.client = Client(self.told)
        self._rate = self._draw.choice((0.0, 0.002, 0.01, 0.03))
        """Of operations that fail."""
        self._checkpoint_events = self._draw.choice((20, 200, 100_000))
        self._calm = False
        self._lives = 0
        self._mirror: Mirror | None = None

    @property
    def trace(self) -> str:
        """Everything that happened, as one number: equal seeds give equal traces."""
        return self._hash.hexdigest()[:16]

    def note(self, what: str) -> None:
        now = asyncio.get_running_loop().time()
        self._hash.update(f"{now:.6f} {what}\n".encode())

    async def pause(self, operation: str) -> None:
        """Every await of the store and of the streams."""
        self.note(operation)
        draw = self._draw.random()
        if self._calm or draw >= self._rate:
            if draw > 0.97:
                await asyncio.sleep(self._draw.choice((0.001, 0.05, 0.6)))
            elif draw > 0.9:
                await asyncio.sleep(0)
            return
        self.seen[f"fails at {operation.split()[0]}"] += 1
        if operation == "committed":
            self.seen["a commit of unknown outcome"] += 1
        if self._draw.random() < 0.5:
            self.note("killed")
            raise Killed
        self.note("lost")
        raise Lost(operation)

    # -- who lives here ---------------------------------------------------------------------------

    async def live(self) -> None:
        """The whole run. Raises Failure."""
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._forever(self._write)),
                group.create_task(self._forever(self._relay)),
                group.create_task(self._listen()),
            ]
            await self._happen()
            await self._settle()
            for task in tasks:
                task.cancel()
        await self._check()

    async def _forever(self, life: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """A supervisor: whatever ends a life, the next begins."""
        while True:
            try:
                await life()
            except (ChainError, Lost, RedisChanged, Killed) as end:
                self.note(f"{life.__name__} ends: {type(end).__name__}")
                self.seen[f"{life.__name__} ends: {type(end).__name__}"] += 1
            await asyncio.sleep(self._draw.choice((0.0, 0.1, 1.0, 5.0)))

    async def _write(self) -> None:
        self._lives += 1
        deployment, _ = tape()
        database = MemoryDatabase(self.disk, self.pause)
        events = self._checkpoint_events
        store = Store(database, deployment, events, lambda: f"epoch {self._lives}")
        rpc = Rpc("http://node", self.node, random=random.Random(self._lives))
        node = Node(rpc, None, 64)
        await follow(store, lambda canon, m: Follower(node, canon, deployment, m.books), self._told)

    def _told(self, canon: Canon, blocks: int, events: int, node_head: int) -> None:
        self.note(f"committed {blocks} blocks, head {canon.head and canon.head.ref}")
        if blocks and canon.head == canon.anchor:
            self.seen["a backfill"] += 1

    async def _relay(self) -> None:
        cursor = self.disk.cursor
        if cursor is None:
            return
        outbox = MemoryOutbox(self.disk, self.pause)
        try:
            await Relay(outbox, MemoryStreams(self.redis, cursor["epoch"], self.pause)).run()
        finally:
            outbox.close()

    async def _listen(self) -> None:
        while True:
            self.client.read(self.redis)
            await asyncio.sleep(0.3)

    async def _happen(self) -> None:
        """What happens to the chain, and to Redis."""
        for _ in range(self._draw.randint(*EVENTS)):
            pause_s = self._draw.choice((0.0, 0.02, 0.2, 0.6, 3.0))
            await asyncio.sleep(pause_s)
            self.note(self.world.happen())
            if self._draw.random() < 0.04:
                self.seen["Redis emptied"] += 1
                self.note("Redis emptied")
                self.redis.empty()
            elif self._draw.random() < 0.04:
                self.seen["Redis failed over"] += 1
                self.redis.lose_last(self._draw.randint(1, 20))
        if max(self.world.reorgs, default=0) > 3:
            self.seen["a reorg deeper than 3"] += 1

    async def _settle(self) -> None:
        """Faults end; the writer, the relay and the client reach the head.

        One block more is mined: a node is asked what is final when it tells a new head.
        """
        self._calm = self.node.calm = True
        self.world.grow(1)
        deadline = asyncio.get_running_loop().time() + SETTLE_S
        while not self._is_settled():
            if asyncio.get_running_loop().time() > deadline:
                raise Failure(f"not settled: {self.disk.cursor}, {self.redis.seq}")
            await asyncio.sleep(1.0)

    def _is_settled(self) -> bool:
        cursor = self.disk.cursor
        if cursor is None or cursor["block_hash"] != self.world.head.block.hash:
            return False
        if cursor["finalized_number"] != self.world.final.block.number:
            return False
        # a snapshot is told with the first live step: until one comes, nothing is told
        return bool(self.redis.seq == cursor["seq"] == self.client.seq)

    # -- how it must be ---------------------------------------------------------------------------

    async def _check(self) -> None:
        clean_disk, clean = await self._clean()
        for table in DECIDED:
            self._equal(table.name, _rows(self.disk, table), _rows(clean_disk, table))
        cursor = self.disk.cursor
        assert cursor is not None
        outbox = [key[0] for key in self.disk.rows(tables.outbox)]
        self._equal("outbox seqs", outbox, list(range(1, cursor["seq"] + 1)))
        kept = [row["message"] for row in self.disk.rows(tables.outbox).values()]
        self._equal("streams", [entry.message for entry in self.redis.entries], kept)
        fresh = Client(self.told)
        fresh.read(self.redis)
        self._equal("a fresh client's channels", fresh.channels, self.client.channels)
        for client in (self.client, fresh):
            self._check_client(client, clean, bool(cursor["live"]))
        for row in self.disk.rows(tables.channels).values():
            self._equal(row["channel"], self.client.channels[row["channel"]], row["seq"])

    def _check_client(self, client: Client, clean: Mirror, live: bool) -> None:
        if not live:
            return
        depth = {}
        for market, book in clean.books.items():
            sides = {
                "bids": [wire._level(level) for level in book.depth("buy")],
                "asks": [wire._level(level) for level in book.depth("sell")],
            }
            if any(sides.values()):
                depth[market] = sides
        self._equal("the client's books", client.depth(), depth)
        if client.since < 0:
            raise Failure("a client that got no snapshot")
        final = _images(clean)
        for key, image in client.state.items():
            self._equal(f"the client's {key}", image, final.get(key))
        trades = [key for key in self.disk.rows(tables.trades) if key[0] > client.since]
        self._equal("the client's trades", sorted(client.trades), sorted(trades))

    async def _clean(self) -> tuple[Disk, Mirror]:
        """One life over the winning branch, with nothing in its way."""
        deployment, _ = tape()
        disk = Disk()
        store = Store(MemoryDatabase(disk), deployment, new_epoch=lambda: "clean")
        mirrors: list[Mirror] = []

        def source(canon: Canon, mirror: Mirror) -> "_Winning":
            mirrors.append(mirror)
            return _Winning(self.world, canon)

        await follow(store, source)
        return disk, mirrors[0]

    def _equal(self, what: str, found: object, expected: object) -> None:
        if found != expected:
            raise Failure(f"seed {self.seed}: {what}: {_difference(found, expected)}")


class _Winning:
    """The winning branch as one batch of steps."""

    node_head = 0

    def __init__(self, world: World, canon: Canon) -> None:
        self._world = world
        self._canon = canon

    async def batches(self) -> AsyncIterator[Sequence[Step]]:
        deployment, _ = tape()
        steps: list[Step] = []
        for mined in self._world.branch():
            self._canon.advance(mined.block)
            named = created_tokens(mined.logs, deployment)
            tokens = tuple(t for address in named if (t := deployment.token(address)))
            steps.append(Advance(mined.block, mined.logs, tokens, "finalized"))
        yield steps


def _rows(disk: Disk, table: Any) -> dict[Any, Any]:
    rows = disk.rows(table)
    if table is tables.divergences:
        return {i: {**row, "id": 0} for i, row in enumerate(rows.values())}
    return rows


def _images(mirror: Mirror) -> dict[tuple[str, ...], Any]:
    """Everything a client may have been told of, as the wire writes it."""
    found: dict[tuple[str, ...], Any] = {}
    for market, book in mirror.books.items():
        for id_, order in book.orders.rows.items():
            found["order", market, str(id_)] = wire.order_data(order)
    for (account, token), balance in mirror.ledger.balances.rows.items():
        found["balance", account, token] = wire.balance_data(balance)
    for (market, open_time), candle in mirror.candles.rows.items():
        found["candle", market, str(open_time)] = wire.candle_data(candle)
    return found


def _difference(found: object, expected: object) -> str:
    if isinstance(found, dict) and isinstance(expected, dict):
        keys = [k for k in {**found, **expected} if found.get(k) != expected.get(k)]
        return (
            f"{len(keys)} differ, first {keys[0]}: {found.get(keys[0])} != {expected.get(keys[0])}"
        )
    return f"{str(found)[:300]} != {str(expected)[:300]}"


def simulate(seed: int) -> Run:
    """Run a seed to its end. Raises what went wrong, with the seed in a note."""
    run = Run(seed)
    try:
        clock.run(run.live())
    except BaseException as error:
        error.add_note(f"seed {seed}: make sim SEED={seed}")
        raise
    return run
