"""The interesting cases, counted where they really occur: the proof that seeds reach them."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence

from indexer.chain.steps import Follower
from indexer.domain.step import Advance, Finalize, Read, Rollback, Step
from indexer.mirror.fold import Mirror
from tests.simulation.world import World

SOMETIMES = (
    # reorgs
    "a shorter head",
    "a head that is our ancestor",
    "a reorg deeper than 3",
    "a reorg deeper than 3 while a snapshot is told",
    "a reorg during the walk to the ancestor",
    "a reorg while a backfill is handed over",
    "a reorg twice in a row",
    "back to the first branch",
    "a reorg across a market's creation",
    "a reorg across a candle's close",
    "a reorg deeper than finalized",
    "the chain moves between two calls",
    # nodes
    "node: 429",
    "node: 5xx",
    "node: hang",
    "node: refused",
    "truncated JSON",
    "an error in place of an answer",
    "a batch with an answer missing",
    "block not found",
    "the head it has just announced is not found",
    "a range that is refused",
    "no logs of a block that has some",
    "the logs of a contract are left out",
    "logs of a block that is gone",
    "logs of another branch",
    "logs told twice",
    "a log marked as removed",
    "the head goes backwards",
    "the finalized tag goes backwards",
    "another chain's id",
    "a provider on a branch of its own",
    "a node that insists on no logs",
    "a provider is quarantined",
    "a provider is down",
    "a provider is excluded",
    "another provider leads",
    "a head by notice",
    "a notice is lost",
    "a websocket is cut off",
    # the writer, Postgres, the relay and Redis
    "a backfill",
    "a start from a checkpoint",
    "a block while a checkpoint is packed",
    "a rollback while a checkpoint is packed",
    "the past while a checkpoint is packed",
    "a checkpoint is saved behind later blocks",
    "a start in a first sync",
    "a commit of unknown outcome",
    "a crash between commit and publish",
    "fails at commit",
    "fails at EXEC",
    "write is killed",
    "relay is killed",
    "Postgres is down",
    "the disk is full",
    "Redis is down",
    "Redis is full",
    "Redis emptied",
    "Redis failed over",
    "a stream is evicted",
    "the outbox is trimmed past the relay",
    "two relays at once",
    "a client that missed something",
)


class Watched:
    """A follower whose every batch is told to a watcher."""

    def __init__(self, follower: Follower, mirror: Mirror, watcher: "Watcher") -> None:
        self._follower = follower
        self._mirror = mirror
        self._watcher = watcher
        self._live = False

    @property
    def node_head(self) -> int:
        return self._follower.node_head

    async def batches(self) -> AsyncIterator[Sequence[Step]]:
        async for batch in self._follower.batches():
            if not batch:
                yield batch
                continue
            past = all(isinstance(s, Advance) and s.finality == "finalized" for s in batch)
            self._watcher.told(batch, snapshot=not past and not self._live)
            if self._mirror.since is not None:
                self._watcher.packed(batch, past=past)
            self._live = not past
            yield batch


class Watcher:
    """Told of what every writer is about to do."""

    def __init__(self, world: World, seen: Counter[str]) -> None:
        self._world = world
        self._seen = seen
        self._forks = 0
        """So many the world had had the last time."""
        self._line: dict[int, str] = {}
        """Canonical hashes by height."""
        self._retracted: set[str] = set()
        self._head = -1
        self._backfilled = False

    def packed(self, batch: Sequence[Step], *, past: bool) -> None:
        """Told of what comes in the middle of a checkpoint."""
        if past:
            self._seen["the past while a checkpoint is packed"] += 1
        elif any(isinstance(step, Rollback) for step in batch):
            self._seen["a rollback while a checkpoint is packed"] += 1
        elif any(isinstance(step, Advance) for step in batch):
            self._seen["a block while a checkpoint is packed"] += 1

    def told(self, batch: Sequence[Step], *, snapshot: bool) -> None:
        seen, forks = self._seen, self._world.forks[self._forks :]
        self._forks += len(forks)
        if len(forks) > 1:
            seen["a reorg twice in a row"] += 1
        if forks and self._backfilled:
            seen["a reorg while a backfill is handed over"] += 1
        if snapshot and max(forks, default=0) > 3:
            seen["a reorg deeper than 3 while a snapshot is told"] += 1
        self._backfilled = False
        for step in batch:
            match step:
                case Read():
                    raise AssertionError("no reader runs beside this writer")
                case Advance(block=block):
                    if step.finality == "finalized":
                        self._backfilled = True
                        seen["a backfill"] += 1
                    if block.hash in self._retracted:
                        seen["back to the first branch"] += 1
                        self._retracted.discard(block.hash)
                    self._line[block.number] = block.hash
                case Rollback(ancestor=ancestor):
                    for number in [n for n in self._line if n > ancestor.number]:
                        self._retracted.add(self._line.pop(number))
                    if self._head - ancestor.number > 3:
                        seen["a reorg deeper than 3"] += 1
                    if len(batch) == 1:
                        seen["a head that is our ancestor"] += 1
                case Finalize():
                    pass
        head = max(self._line, default=-1)
        if any(isinstance(step, Rollback) for step in batch) and head < self._head:
            seen["a shorter head"] += 1
        self._head = head
