"""Recorded blocks as a chain that is still at the head: advances, rollbacks and restarts."""

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import chain as chained
from itertools import groupby
from pathlib import Path
from typing import Any
from unittest.mock import patch

import asyncpg
import msgspec

from indexer import follow as follow_module
from indexer.chain.recording import Recording
from indexer.decode import created_markets, select
from indexer.domain.block import Finality
from indexer.domain.canon import Canon
from indexer.domain.deployment import Deployment
from indexer.domain.step import Advance, Finalize, Read, Rollback, Step
from indexer.domain.units import Address
from indexer.mirror.fold import Mirror
from indexer.mirror.memory import Memory
from indexer.store import postgres
from indexer.store.behind import Behind
from indexer.store.checkpoints import EVERY_EVENTS
from indexer.store.export import export
from indexer.store.writer import Store, open_store
from tests.outbox import outbox


class Chain:
    """The first blocks of a recording as advances. The first is final, as a start's anchor is."""

    def __init__(self, file: Path, last: int) -> None:
        recording = Recording(file)
        self.deployment: Deployment = recording.deployment
        tokens = tuple(t for a in self.deployment.tokens if (t := self.deployment.token(a)))
        markets: set[Address] = set()
        self.advances: list[Advance] = []
        for recorded in recording.blocks():
            if recorded.number > last:
                break
            logs = select(recorded.logs, self.deployment, markets)
            markets |= created_markets(logs, self.deployment)
            finality: Finality = "latest" if self.advances else "finalized"
            self.advances.append(Advance(recorded.block, tuple(logs), tokens, finality))

    def to(self, first: int, last: int) -> list[Step]:
        """Advances from one height to another."""
        return list(self.advances[first : last + 1])

    def past(self, first: int, last: int) -> list[Step]:
        """The same as a backfill tells them."""
        steps = self.advances[first : last + 1]
        return [msgspec.structs.replace(step, finality="finalized") for step in steps]

    def back_to(self, number: int) -> Step:
        return Rollback(self.advances[number].block)

    def finalize(self, number: int) -> Step:
        return Finalize(self.advances[number].block.ref)

    def secure(self, number: int) -> Step:
        return Finalize(self.advances[number].block.ref, "safe")


class _Script:
    """These batches; one behind which a checkpoint is begun waits until that is saved."""

    def __init__(
        self, canon: Canon, batches: Iterable[Sequence[Step]], behind: Sequence[Behind] = ()
    ) -> None:
        self.node_head = 0
        self._canon = canon
        self._behind = behind
        self._batches = batches

    async def batches(self) -> AsyncIterator[Sequence[Step]]:
        for batch in chained.from_iterable(map(_by_age, self._batches)):
            for step in batch:
                match step:
                    case Advance(block=block) | Read(block=block):
                        self._canon.advance(block)
                        self.node_head = block.number
                    case Rollback(ancestor=ancestor):
                        self._canon.rollback(ancestor.ref)
                    case Finalize(block=ref, finality="finalized"):
                        self._canon.finalize(ref)
                    case Finalize(block=ref):
                        self._canon.secure(ref)
            yield batch
            for behind in self._behind:
                await behind.finish()


def _by_age(batch: Sequence[Step]) -> list[list[Step]]:
    """What is final by itself, as every source tells its first block."""
    grouped = groupby(batch, lambda s: isinstance(s, Advance) and s.finality == "finalized")
    return [list(steps) for _, steps in grouped]


async def play(
    database_url: str, chain: Chain, *batches: Sequence[Step], checkpoint_events: int = EVERY_EVENTS
) -> None:
    """One life of a writer: load, take the batches, end."""
    store = await open_store(database_url, chain.deployment, checkpoint_events=checkpoint_events)
    try:
        begun: list[Behind] = []

        def behind(store: Store, mirror: Mirror) -> Behind:
            begun.append(Behind(store, mirror))
            return begun[-1]

        with patch.object(follow_module, "Behind", behind):
            await follow_module.follow(store, lambda canon, _: _Script(canon, batches, begun))
    finally:
        await store.close()


async def load(database_url: str, chain: Chain) -> Mirror:
    """The mirror that a start would have before its first block, with nothing needless in it."""
    store = await open_store(database_url, chain.deployment)
    try:
        _, mirror = await store.load()
        memory = Memory(mirror)
        async with store.transaction() as tx:
            await tx.recall(memory, [], mirror.head.number + 1)
        memory.forget(mirror.head)
        return mirror
    finally:
        await store.close()


async def exported(database_url: str) -> dict[str, Any]:
    connection = await postgres.connect(database_url)
    try:
        return await export(connection)
    finally:
        await connection.close()


async def tables(database_url: str) -> dict[str, list[Any]]:
    """Every row of every table that a chain decides, in a fixed order."""
    names = "tokens markets orders levels balances candles events trades order_changes"
    names += " level_changes balance_changes books queues"
    connection = await postgres.connect(database_url)
    try:
        return {
            name: await connection.fetch(f"select x::text from tidebook.{name} x order by 1")
            for name in names.split()
        }
    finally:
        await connection.close()


async def messages(database_url: str) -> list[dict[str, Any]]:
    """The outbox, in the order of its seq."""
    connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(database_url)
    try:
        return [json.loads(line.message) for line in await outbox(connection)]
    finally:
        await connection.close()
