"""Faults planted in the product, each of which the simulation must find: the test of the test."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest
from sqlalchemy import Table

from indexer.chain.node import Node
from indexer.chain.source import Watch
from indexer.domain.block import Block
from indexer.domain.change import Deltas
from indexer.domain.log import Log
from indexer.store import tables
from indexer.store.memory import MemoryDatabase

Plant = Callable[[pytest.MonkeyPatch], None]


def skips_the_undo_of_one_table(patch: pytest.MonkeyPatch) -> None:
    inverse = Deltas.inverse
    patch.setattr(
        Deltas, "inverse", lambda self: msgspec.structs.replace(inverse(self), balances=())
    )


def publishes_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    append = MemoryDatabase.append

    async def early(self: MemoryDatabase, table: Table, rows: Iterable[object]) -> None:
        before = len(self._writes)
        await append(self, table, rows)
        if table is tables.outbox:
            for write in self._writes[before:]:
                write()
            del self._writes[before:]
            for listener in self.disk.listeners:
                listener()

    patch.setattr(MemoryDatabase, "append", early)


def forgets_prev_seq_at_a_start(patch: pytest.MonkeyPatch) -> None:
    read = MemoryDatabase.read

    async def forgetful(self: MemoryDatabase, table: Table, *args: Any, **more: Any) -> Any:
        rows = await read(self, table, *args, **more)
        return [] if table is tables.channels else rows

    patch.setattr(MemoryDatabase, "read", forgetful)


def takes_logs_by_number_at_the_head(patch: pytest.MonkeyPatch) -> None:
    async def by_number(self: Node, block: Block, watch: Watch) -> list[Log]:
        asked = {"fromBlock": hex(block.number), "toBlock": hex(block.number)}
        found: list[Log] = []
        filters = watch.filters()
        while filters:
            for filter_ in filters:
                found += await self._rpc.call(list[Log], "eth_getLogs", {**asked, **filter_})
            new = watch.discover(found)
            filters = [{"address": sorted(new)}] if new else []
        return sorted(found, key=lambda log: log.index)

    patch.setattr(Node, "logs_of", by_number)


MUTANTS: tuple[Plant, ...] = (
    skips_the_undo_of_one_table,
    publishes_before_the_commit,
    forgets_prev_seq_at_a_start,
    takes_logs_by_number_at_the_head,
)
