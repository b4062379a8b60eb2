"""One seed, one run: writers, relays and clients live and die on one virtual clock.

At the end faults stop and the chain stands still. Then everything must be as if there had been one
writer, one life and one branch: the tables, the outbox, the streams, and what clients believe.
"""

import asyncio
import gc
import hashlib
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

from redis.exceptions import RedisError

from indexer.chain.errors import ChainError
from indexer.chain.provider import Provider
from indexer.chain.providers import Providers
from indexer.chain.roster import NONE_LEFT_S
from indexer.chain.steps import Follower
from indexer.domain.canon import Canon
from indexer.ground import follow_whatever_comes
from indexer.mirror import whole
from indexer.mirror.fold import Mirror
from indexer.relay import EpochChanged, RedisChanged, RedisStreams, Relay
from indexer.store import past, tables
from indexer.store.indexes import SPARED
from indexer.store.memory import Disk, MemoryDatabase
from indexer.store.writer import Store
from tests.simulation import clock, model
from tests.simulation.cases import Watched, Watcher
from tests.simulation.client import Client
from tests.simulation.exchange import CHAIN_ID, DEPLOYMENT
from tests.simulation.limits import small_limits
from tests.simulation.model import Failure
from tests.simulation.node import FaultyNode, Habits
from tests.simulation.outbox import MemoryOutbox
from tests.simulation.redis import KEYS, Connection, Redis
from tests.simulation.transports import Network
from tests.simulation.weather import DiskFull, Killed, Lost, Weather
from tests.simulation.world import World

EVENTS = (8, 30)
"""Fewest and most things that happen to the chain in one run."""
SPARED_NAMES = {str(index.name) for index in SPARED}
SETTLE_S = 1_500.0
"""A provider that lied often is asked again only after a long while."""
LISTEN_S = 0.3
LOOKED_AT = 4
"""Blocks whose logs are looked at behind each commit."""
NEVER = 1e9


class Run:
    """All of one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.seen: Counter[str] = Counter()
        """Interesting cases that really occurred, for the 'sometimes' assertions."""
        self._draw = draw = random.Random(seed)
        self._hash = hashlib.sha256()
        self.world = World(draw, self.seen, deep=draw.choice((0.0, 0.1, 0.3)))
        self.habits = Habits(
            tags=draw.random() < 0.7,
            confirmations=draw.choice((3, 8, 64)),
            receipts=draw.random() < 0.7,
            longest_range=draw.choice((3, 1_000_000)),
        )
        names = [
            f"{draw.choice(('http', 'ws'))}://node{i}" for i in range(draw.choice((1, 1, 2, 3)))
        ]
        self.nodes = {
            name: FaultyNode(name, self.world, draw, self.seen, self.habits) for name in names
        }
        if len(names) > 1 and draw.random() < 0.3:
            self.nodes[names[-1]].strange = True
        self.network = Network(self.nodes, draw, self.seen, self._move)
        self.weather = Weather(draw, self.seen, self.note)
        self.disk = Disk()
        self.redis = Redis(longest=draw.choice((100_000, 100_000, 40)))
        self.clients = [Client(self.seen) for _ in range(2)]
        """One stays, the other comes and goes."""
        self._visits = random.Random(f"{seed} visits")
        self.watcher = Watcher(self.world, self.seen)
        self._mortality_s = draw.choice((NEVER, 10.0, 3.0))
        """Mean life of a process that is killed."""
        self._checkpoint_events = draw.choice((5, 20, 100_000))
        self._saved: set[tuple[Any, ...]] = set()
        """Keys of the checkpoints that there are."""
        self.small = draw.random() < 0.5
        self._calm = False
        self._lives = 0
        self._providers: Providers | None = None
        self._leader: Provider | None = None

    @property
    def trace(self) -> str:
        """Everything that happened, as one number: equal seeds give equal traces."""
        return self._hash.hexdigest()[:16]

    def note(self, what: str) -> None:
        now = asyncio.get_running_loop().time()
        self._hash.update(f"{now:.6f} {what}\n".encode())

    # -- who lives here ---------------------------------------------------------------------------

    async def live(self) -> None:
        """The whole run. Raises Failure, and whatever nobody expected."""
        self.world.heard.append(self._spread)
        story = asyncio.create_task(self._story())
        lives = [self._write, self._relay]
        if self._draw.random() < 0.2:
            self.seen["two relays at once"] += 1
            lives.append(self._relay)
        tasks = [story, asyncio.create_task(self._listen())]
        tasks += [asyncio.create_task(self._forever(life)) for life in lives]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        ended = [task for task in tasks if task.done()]
        for task in reversed(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in ended:
            task.result()
        await self._check()

    async def _story(self) -> None:
        await self._happen()
        await self._settle()

    async def _forever(self, life: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """A supervisor: whatever ends a life, the next begins."""
        name = life.__name__.removeprefix("_")
        while True:
            task = asyncio.create_task(life())
            try:
                await asyncio.wait({task}, timeout=self._draw.expovariate(1 / self._mortality_s))
                if not task.done() and self._calm:
                    await asyncio.wait({task})
            finally:
                if not task.done() and not self._calm:
                    self.note(f"{name} is killed")
                    self.seen[f"{name} is killed"] += 1
                task.cancel()
                (end,) = await asyncio.gather(task, return_exceptions=True)
            self._ended(name, end)
            await asyncio.sleep(self._draw.choice((0.0, 0.1, 1.0, 4.0, 10.0)))

    def _ended(self, name: str, end: BaseException | None) -> None:
        expected = (Lost, DiskFull, Killed, RedisError, RedisChanged, EpochChanged, ChainError)
        if isinstance(end, BaseException) and not isinstance(
            end, (*expected, asyncio.CancelledError)
        ):
            raise end
        self.note(f"{name} ends: {type(end).__name__}")
        self.seen[f"{name} ends: {type(end).__name__}"] += 1
        cursor = self.disk.cursor
        if cursor is not None and cursor["seq"] > self.redis.seq:
            self.seen["a crash between commit and publish"] += 1

    # -- the writer -------------------------------------------------------------------------------

    async def _write(self) -> None:
        self._lives += 1
        life = self._lives
        providers = await Providers.open(
            list(self.nodes),
            DEPLOYMENT,
            self.habits.confirmations,
            connect=self.network.connect,
            random=random.Random(f"{self.seed} {life}"),
            tell=self._said,
        )
        self._providers, self._leader = providers, None
        restarts = iter(range(1_000))
        store = Store(
            MemoryDatabase(self.disk, self.weather.store(self._committed)),
            DEPLOYMENT,
            self._checkpoint_events,
            lambda: f"epoch {life} {next(restarts)}",
        )

        def source(canon: Canon, mirror: Mirror) -> Watched:
            if any(self.disk.rows(tables.checkpoints)):
                self.seen["a start from a checkpoint"] += 1
            if SPARED_NAMES - self.disk.indexes:
                self.seen["a start in a first sync"] += 1
            return Watched(
                Follower(providers, canon, DEPLOYMENT, mirror.books), mirror, self.watcher
            )

        try:
            await follow_whatever_comes(store, providers, source, self._progress, self._said)
        except ChainError as error:
            if not self._excuses(providers):
                raise Failure(f"the writer died of {type(error).__name__}: {error}") from error
            raise
        finally:
            await providers.close()

    def _excuses(self, providers: Providers) -> bool:
        """No provider could be used for as long as the writer promises to wait."""
        since = providers.roster.none_since
        now = asyncio.get_running_loop().time()
        return since is not None and now - since >= NONE_LEFT_S - 1e-6

    def _said(self, line: str) -> None:
        self.note(line)
        for state in ("quarantined", "down", "excluded"):
            if f" is {state}" in line:
                self.seen[f"a provider is {state}"] += 1
        if "below what was final" in line:
            self.seen["a reorg deeper than finalized"] += 1

    def _progress(self, canon: Canon, blocks: int, events: int, node_head: int) -> None:
        assert self._providers is not None, "progress without providers"
        leader = self._providers.roster.leader
        if self._leader not in (None, leader):
            self.seen["another provider leads"] += 1
        self._leader = leader
        self.note(f"committed {blocks} blocks, head {canon.head and canon.head.ref}")
        for block in canon.blocks()[-LOOKED_AT:]:
            model.check_block(self.disk, self.world.known[block.hash])

    def _committed(self) -> None:
        model.check_commit(self.disk)
        cursor, saved = self.disk.cursor, self.disk.rows(tables.checkpoints)
        for (number,) in saved.keys() - self._saved:
            if cursor and number < (cursor["finalized_number"] or 0):
                self.seen["a checkpoint is saved behind later blocks"] += 1
        self._saved = set(saved)

    # -- the relay --------------------------------------------------------------------------------

    async def _relay(self) -> None:
        cursor = self.disk.cursor
        if cursor is None:
            return
        pause = self.weather.relay()
        outbox = MemoryOutbox(self.disk, cursor["epoch"], pause)
        client: Any = Connection(self.redis, pause)
        oldest = next(iter(self.disk.rows(tables.outbox).values()), {"first_seq": 0})
        if 0 < self.redis.seq < oldest["first_seq"] - 1:
            self.seen["the outbox is trimmed past the relay"] += 1
        try:
            await Relay(outbox, RedisStreams(client, CHAIN_ID, cursor["epoch"])).run()
        finally:
            outbox.close()

    async def _listen(self) -> None:
        steady, guest = self.clients
        away = 0
        while True:
            steady.read(self.redis, self.disk)
            away -= 1
            if away < 0:
                guest.read(self.redis, self.disk)
                if not self._calm and self._visits.random() < 0.05:
                    away = self._visits.choice((0, 5, 20))
                    guest.epoch = self._visits.choice((guest.epoch, None))  # to go on, or anew
            await asyncio.sleep(LISTEN_S)

    # -- what happens -----------------------------------------------------------------------------

    def _spread(self) -> None:
        """The world has moved."""
        for node in self.nodes.values():
            node.hear(asyncio.get_running_loop().call_later)

    def _move(self, method: str) -> None:
        """The chain moves just before a node answers."""
        forks = len(self.world.forks)
        self.seen["the chain moves between two calls"] += 1
        self.note(self.world.happen())
        if method == "eth_getBlockByHash" and len(self.world.forks) > forks:
            self.seen["a reorg during the walk to the ancestor"] += 1

    async def _happen(self) -> None:
        for _ in range(self._draw.randint(*EVENTS)):
            await asyncio.sleep(self._draw.choice((0.0, 0.02, 0.2, 0.6, 1.5, 6.0)))
            self.note(self.world.happen())
            if self._draw.random() < 0.2:
                self._befall()

    def _befall(self) -> None:
        """Something happens to a server."""
        draw, redis, weather = self._draw, self.redis, self.weather
        for_s = draw.choice((0.5, 4.0, 15.0))
        kinds = (
            "empty",
            "fail over",
            "evict",
            "full",
            "redis",
            "postgres",
            "disk",
            "cut",
            "cut",
            "lie",
        )
        kind = draw.choice(kinds)
        self.note(f"{kind} for {for_s} s")
        match kind:
            case "empty":
                self.seen["Redis emptied"] += 1
                redis.empty()
            case "fail over":
                self.seen["Redis failed over"] += 1
                redis.fail_over(draw.randint(1, 3))
            case "evict":
                self.seen["a stream is evicted"] += 1
                redis.evict(draw.choice(list(KEYS)))
            case "full":
                self.seen["Redis is full"] += 1
                self._for_a_while(redis, "full", for_s)
            case "redis":
                self._for_a_while(weather, "redis_down", for_s)
            case "postgres":
                self._for_a_while(weather, "postgres_down", for_s)
            case "disk":
                self._for_a_while(weather, "disk_full", for_s)
            case "lie":
                self._for_a_while(draw.choice(list(self.nodes.values())), "insists", for_s)
            case _:
                for node in self.nodes.values():
                    node.hang_up()
                node = draw.choice(list(self.nodes.values()))
                node.cut_off()
                later = asyncio.get_running_loop().call_later
                for at in (0.3, 0.6, 0.9):
                    later(at * for_s, node.stray)
                later(for_s, node.join)

    def _for_a_while(self, of: object, name: str, for_s: float) -> None:
        setattr(of, name, True)
        asyncio.get_running_loop().call_later(for_s, setattr, of, name, False)

    async def _settle(self) -> None:
        """Faults end; the writer, the relay and the clients reach the head.

        One block more is mined: a node is asked what is final when it tells a new head. And more,
        if the chain has gone back below what was final: then nobody can tell that from a late node.
        """
        self._calm = self.weather.calm = True
        self.redis.full = False
        for node in self.nodes.values():
            node.calm, node.insists = True, False
        self.world.finalize(self.world.head.number - 2)
        self.world.grow(1)
        for node in self.nodes.values():
            node.join()
        deadline = asyncio.get_running_loop().time() + SETTLE_S
        while not self._is_settled():
            if asyncio.get_running_loop().time() > deadline:
                raise Failure(f"not settled: {self.disk.cursor}, Redis {self.redis.seq}")
            await asyncio.sleep(1.0)
            cursor = self.disk.cursor
            if cursor and (cursor["finalized_number"] or 0) >= self.world.head.number:
                self.world.grow(1)

    def _is_settled(self) -> bool:
        cursor = self.disk.cursor
        if cursor is None or cursor["block_hash"] != self.world.head.block.hash:
            return False
        if self.habits.tags and cursor["finalized_number"] < self.world.final.number:
            return False
        if SPARED_NAMES - self.disk.indexes:
            return False
        if self.redis.position.get(b"epoch") != cursor["epoch"].encode():
            return False
        if not self.redis.is_whole:
            return False
        # a snapshot is told with the first live step: until one comes, nothing is told
        told = {(client.epoch, client.seq) for client in self.clients}
        here = (cursor["epoch"], cursor["seq"])
        return bool(told == {here} and self.redis.seq == here[1] and cursor["live"])

    # -- how it must be ---------------------------------------------------------------------------

    async def _check(self) -> None:
        branch, disk = self.world.branch(), self.disk
        clean = model.Clean(branch)
        await clean.live()
        await model.check_tables(disk, clean, branch)
        await model.check_recovery(disk)
        await model.check_undo(disk, branch)
        model.check_outbox(disk)
        model.check_laws(clean, self.world.head)
        messages = {line.seq: line.message.decode() for line in model.messages(disk)}
        entries = dict(self.redis.entries())
        kept = {
            seq: entries.get(seq) for seq in messages if seq in entries or not self.redis.trimmed
        }
        model.equal("streams", kept, {seq: messages[seq] for seq in kept})
        model.equal("entries of another epoch", self.redis.foreign(), [])
        for client in self.clients:
            model.check_client(client, disk, whole=client.whole)
        self._hash.update(repr(messages).encode())


def simulate(seed: int) -> Run:
    """Run a seed to its end. Raises what went wrong, with the seed in a note."""
    run = Run(seed)
    collects = gc.isenabled()
    gc.disable()  # whatever it finalizes would be part of the run, at a time of its own
    try:
        with (
            small_limits() if run.small else ExitStack(),
            patch.object(past, "gc"),
            patch.object(whole, "EVERY_ORDERS", 4),  # whole books, on chains of a few orders
        ):
            clock.run(run.live())
    except BaseException as error:
        error.add_note(f"seed {seed}: make sim SEED={seed}")
        raise
    finally:
        if collects:
            gc.enable()
    return run
