"""The commands of the second witness: verify what the chain did, ask what it would do, match."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import click
import msgspec

from tidebook.settings import Storage
from tidebook.stores import servers

if TYPE_CHECKING:
    from indexer.domain.deployment import Deployment
    from indexer.domain.divergence import Divergence
    from indexer.domain.execution import Intent
    from indexer.store.postgres import Connection

SHOWN = 20
"""Divergences printed; the rest is counted."""


class Diverged(Exception):
    """The chain did not do what its rules say."""


async def verify(storage: Storage, first: int | None, last: int | None) -> None:
    """Match every order anew and compare. Raises Diverged if anything differs."""
    from indexer.mirror.fold import Mirror
    from indexer.store.history import refold

    trades = verified = undecided = blocks = 0
    found: list[Divergence] = []
    async with _stored(storage) as (connection, deployment):
        async for applied in refold(connection, deployment, Mirror(deployment), last):
            if first is not None and applied.block.number < first:
                continue
            blocks += 1
            trades += len(applied.trades)
            verified += sum(trade.verified is True for trade in applied.trades)
            undecided += sum(trade.verified is None for trade in applied.trades)
            found += applied.divergences
    click.echo(
        f"{blocks:,} blocks, {trades:,} trades: {verified:,} verified, {undecided:,} undecided, "
        f"{len(found):,} divergences"
    )
    for divergence in found[:SHOWN]:
        click.echo(
            f"  block {divergence.block_number}, log {divergence.log_index}, "
            f"market {divergence.market}, order {divergence.order_id}: {divergence.kind}: "
            f"expected {_said(divergence.expected)}, found {_said(divergence.found)}"
        )
    if found:
        raise Diverged(f"the chain did not do what its rules say: {len(found):,} divergences")


def _said(effect: msgspec.Struct | None) -> str:
    return "nothing" if effect is None else msgspec.json.encode(effect).decode()


async def simulate(storage: Storage, market: str, intents: list[Intent], block: int | None) -> None:
    """Print what would come of orders, one JSON line each, at the head or at a past block."""
    from indexer.mirror.fold import Mirror
    from indexer.mirror.simulate import simulate as run
    from indexer.store.history import refold

    async with _stored(storage) as (connection, deployment):
        mirror = Mirror(deployment)
        async for _ in refold(connection, deployment, mirror, block):
            pass
    address = next(
        (m.address for m in mirror.markets.rows.values() if market in (m.symbol, m.address)), None
    )
    if address is None:
        known = ", ".join(m.symbol for m in mirror.markets.rows.values()) or "none"
        raise click.BadParameter(f"expected one of {known}, found {market}", param_hint="--market")
    for execution in run(mirror, address, intents, mirror.head.timestamp):
        click.echo(msgspec.json.encode(execution).decode())


def match() -> None:
    """Order commands on stdin, fills on stdout, as JSON lines; a bad one is answered in place."""
    from indexer.mirror.matching.engine import Engine

    engine = Engine()
    encode = msgspec.json.Encoder().encode
    for line in sys.stdin.buffer:
        if line.strip():
            sys.stdout.buffer.write(encode(_executed(engine, line)) + b"\n")
            sys.stdout.buffer.flush()


def _executed(engine: Any, line: bytes) -> Any:
    try:
        command = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        return {"error": f"not JSON: {error}"}
    return engine.execute(command)


@asynccontextmanager
async def _stored(storage: Storage) -> AsyncIterator[tuple[Connection, Deployment]]:
    """A connection, and the deployment that the database is bound to."""
    from indexer.domain.deployment import parse_deployment
    from indexer.store import postgres
    from indexer.store.errors import NothingIndexed
    from indexer.store.writer import check_schema

    async with servers(storage) as urls:
        connection = await postgres.connect(urls.database_url)
        try:
            await check_schema(connection)
            cursor = await connection.fetchrow(
                "select deployment from tidebook.cursors where block_number is not null"
            )
            if cursor is None:
                raise NothingIndexed
            yield connection, parse_deployment(cursor["deployment"].encode())
        finally:
            await connection.close()
