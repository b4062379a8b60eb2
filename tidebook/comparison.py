"""Our state against the contracts' getters: at the command, and now and then beside the writer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import click

from tidebook.settings import Chain, Storage
from tidebook.witness import SHOWN, Diverged, stored

if TYPE_CHECKING:
    from indexer.chain.providers import Providers
    from indexer.domain.block import Block
    from indexer.domain.canon import Canon
    from indexer.domain.deployment import Deployment
    from indexer.mirror.compare import Difference, Limits, Sample
    from indexer.store.postgres import Connection
    from tidebook.progress import BlockProgress

_log = logging.getLogger("tidebook.comparison")

BLOCKS_BACK = 256
"""Of our newest blocks, how many are offered to a node that does not know the newest."""

PERIODIC_LEVELS, PERIODIC_ORDERS, PERIODIC_CLOSED, PERIODIC_BALANCES = 100, 30, 10, 100
"""Limits of a comparison beside the writer: some three hundred calls for three markets."""


async def against_chain(storage: Storage, chain: Chain, number: int | None) -> None:
    """Compare at one block, print what differs. Raises Diverged, NoState."""
    from indexer.chain.providers import Providers
    from indexer.mirror.compare import Limits

    limits = Limits()
    async with stored(storage) as (connection, deployment, _):
        node = await Providers.open(chain.urls, deployment, chain.confirmations, none_left_s=0)
        try:
            sample = await _sample(connection, deployment, node, number, limits)
            found = await compare(node, sample, deployment, limits)
        finally:
            await node.close()
    compared = f"{len(sample.levels):,} levels, {len(sample.balances):,} balances"
    if deployment.protocol == "tidebook":
        compared += f", {len(sample.orders):,} orders"
    click.echo(f"block {sample.block.number}: {compared} compared, {len(found):,} differences")
    for one in found[:SHOWN]:
        click.echo(
            f"  market {one.contract}, {one.field}: expected {_said(one.expected)}, "
            f"found {_said(one.found)}"
        )
    if found:
        raise Diverged(f"our state is not the contracts': {len(found):,} differences")


async def compare(
    node: Providers, sample: Sample, deployment: Deployment, limits: Limits
) -> list[Difference]:
    """Ask everything about a sample and compare. Raises ChainError."""
    from indexer.mirror.compare import differences, questions

    asked = questions(sample, deployment, limits)
    answers = await node.read_words([(q.contract, q.data) for q in asked], sample.block)
    return [
        one
        for question, answer in zip(asked, answers, strict=True)
        for one in differences(question, answer)
    ]


def _said(value: int | None) -> str:
    return "nothing" if value is None else str(value)


async def _sample(
    connection: Connection,
    deployment: Deployment,
    node: Providers,
    number: int | None,
    limits: Limits,
) -> Sample:
    """At the cursor; if the node does not know that block, at our newest that it knows."""
    from indexer.mirror.compare import sample_of
    from indexer.mirror.fold import Mirror
    from indexer.store.history import refold
    from indexer.store.sample import read_sample

    if number is None:
        sample = await read_sample(connection, limits)
        known = await _newest_known(connection, node, sample.block)
        if known == sample.block:
            return sample
        number = known.number
    mirror = Mirror(deployment)
    async for _ in refold(connection, deployment, mirror, number):
        pass
    if mirror.head.number != number:
        raise click.BadParameter(f"expected an indexed block, found {number}", param_hint="--block")
    return sample_of(mirror, limits)


async def _newest_known(connection: Connection, node: Providers, head: Block) -> Block:
    from indexer.chain.errors import BlockGone, NoState
    from indexer.store.sample import newest_blocks

    for block in await newest_blocks(connection, BLOCKS_BACK):
        with contextlib.suppress(BlockGone):
            return await node.by_hash(block.hash)
    raise NoState(head, f"it knows none of our {BLOCKS_BACK} newest blocks")


class Periodic:
    """A comparison every `compare_every` finalized blocks, beside the loop, by its own connections.

    Told of progress after each commit. What goes wrong here is logged and tried again at the next
    turn: the writer never waits for it, nor ends by it.
    """

    def __init__(
        self,
        progress: BlockProgress,
        database_url: str,
        chain: Chain,
        deployment: Deployment,
    ) -> None:
        self._progress = progress
        self._database_url = database_url
        self._chain = chain
        self._deployment = deployment
        self._due = asyncio.Event()
        self._last: int | None = None

    def __call__(self, canon: Canon, blocks: int, events: int, node_head: int) -> None:
        self._progress(canon, blocks, events, node_head)
        anchor, head = canon.anchor, canon.head
        if anchor is None or head is None or head.number < node_head:
            return  # catching up: a node may not keep state that far back
        if self._last is None or anchor.number >= self._last + self._chain.compare_every:
            self._last = anchor.number
            self._due.set()

    async def run(self) -> None:
        """Compare whenever it is due, until cancelled."""
        from indexer.chain.errors import ChainError
        from indexer.store.postgres import DatabaseUnreachable

        while True:
            await self._due.wait()
            self._due.clear()
            try:
                await self.once()
            except (ChainError, DatabaseUnreachable, OSError) as error:
                _log.warning("state was not compared with the contracts': %s", error)
            except Exception:
                _log.exception("the comparison with the contracts' state failed")

    async def once(self) -> int:
        """One comparison at the cursor; how many new divergences it stored."""
        from indexer.chain.providers import Providers
        from indexer.mirror.compare import Limits
        from indexer.store import postgres
        from indexer.store.sample import read_sample, store_differences

        limits = Limits(PERIODIC_LEVELS, PERIODIC_ORDERS, PERIODIC_CLOSED, PERIODIC_BALANCES)
        async with contextlib.AsyncExitStack() as opened:
            connection = await postgres.connect(self._database_url)
            opened.push_async_callback(connection.close)
            node = await Providers.open(self._chain.urls, self._deployment, none_left_s=0)
            opened.push_async_callback(node.close)
            sample = await read_sample(connection, limits)
            found = await compare(node, sample, self._deployment, limits)
            new = await store_differences(connection, sample.block, found) if found else 0
        if found:
            _log.error(
                "block %d: our state is not the contracts': %d differences, %d of them new; "
                "the first: %s",
                sample.block.number,
                len(found),
                new,
                found[0],
            )
        return new


@asynccontextmanager
async def comparing(
    progress: BlockProgress, database_url: str, chain: Chain, deployment: Deployment
) -> AsyncIterator[Any]:
    """The progress to give to the loop while comparisons run beside it, if settings want any."""
    if not chain.compare_every:
        yield progress
        return
    periodic = Periodic(progress, database_url, chain, deployment)
    task = asyncio.create_task(periodic.run())
    try:
        yield periodic
    finally:
        task.cancel()
        await asyncio.wait({task})
