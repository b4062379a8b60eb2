"""The commands of the second witness: verify what the chain did, ask what it would do, match."""

from __future__ import annotations

import re
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

MOST_MARKETS = 10_000
"""Markets among which a name is looked for."""

CONNECT_TIMEOUT_S = 10.0
"""Seconds to wait for a connection of the reader's kind."""

_ADDRESS = re.compile("0[xX][0-9a-fA-F]{40}")


class Diverged(Exception):
    """The chain did not do what its rules say."""


async def verify(storage: Storage, first: int | None, last: int | None) -> None:
    """Match every order anew and compare. Raises Diverged if anything differs."""
    from indexer.mirror.fold import Mirror
    from indexer.store.history import refold

    trades = verified = undecided = blocks = 0
    found: list[Divergence] = []
    async with stored(storage) as (connection, deployment, _):
        async for applied in refold(connection, deployment, Mirror(deployment), last):
            if first is not None and applied.block.number < first:
                continue
            blocks += 1
            trades += len(applied.trades)
            verified += sum(trade.verified is True for trade in applied.trades)
            undecided += sum(trade.verified is None for trade in applied.trades)
            found += applied.divergences
    if not blocks:  # nothing judged is no acquittal
        raise click.BadParameter(
            "expected blocks that are indexed, found none", param_hint="--from"
        )
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
    from indexer.domain.units import Address
    from indexer.mirror.simulate import simulate as run

    for intent in intents:
        if intent.account is not None and not _ADDRESS.fullmatch(intent.account):
            expected = f"expected 0x and 40 hex digits, found {intent.account}"
            raise click.BadParameter(expected, param_hint="--account")
    # Addresses are stored in lower case; people paste them with a checksum's capitals.
    intents = [
        msgspec.structs.replace(i, account=i.account and Address(i.account.lower()))
        for i in intents
    ]
    if _ADDRESS.fullmatch(market):
        market = market.lower()
    mirror = await _mirror(storage, market, intents, block)
    address = next(
        (m.address for m in mirror.markets.rows.values() if market in (m.symbol, m.address)), None
    )
    if address is None:
        known = ", ".join(m.symbol for m in mirror.markets.rows.values()) or "none"
        raise click.BadParameter(f"expected one of {known}, found {market}", param_hint="--market")
    for execution in run(mirror, address, intents, mirror.head.timestamp):
        click.echo(msgspec.json.encode(execution).decode())


async def _mirror(storage: Storage, market: str, intents: list[Intent], block: int | None) -> Any:
    """One market's book out of the tables; of the past, everything folded anew."""
    from api.books import book_at_head
    from api.reads import listings
    from indexer.mirror.fold import Mirror
    from indexer.store.history import refold
    from indexer.store.snapshot import Snapshot, connect

    async with stored(storage) as (connection, deployment, database_url):
        if block is not None:
            mirror = Mirror(deployment)
            async for _ in refold(connection, deployment, mirror, block):
                pass
            if mirror.head.number != block:
                expected = f"expected an indexed block, found {block}"
                raise click.BadParameter(expected, param_hint="--block")
            return mirror
        engine = connect(database_url, pool_size=1, pool_timeout_s=CONNECT_TIMEOUT_S)
        snapshot = Snapshot(engine)
        try:
            known = await listings(snapshot, MOST_MARKETS)
            for listing in known:
                if market in (listing.market.symbol, listing.market.address):
                    accounts = {i.account for i in intents if i.account is not None}
                    return await book_at_head(snapshot, listing, accounts)
        finally:
            await snapshot.close()
            await engine.dispose()
    names = ", ".join(listing.market.symbol for listing in known) or "none"
    raise click.BadParameter(f"expected one of {names}, found {market}", param_hint="--market")


async def acknowledge(storage: Storage, market: str | None) -> None:
    """Unmark a market, or all of them."""
    from indexer.store.marks import acknowledge as run
    from indexer.store.marks import marked

    async with stored(storage) as (connection, _, _):
        names = ", ".join(await marked(connection)) or "none"
        count = await run(connection, market)
    if market is not None and not count:
        expected = f"expected a marked market, of which there are {names}; found {market}"
        raise click.BadParameter(expected, param_hint="MARKET")
    click.echo(f"acknowledged {count:,} divergences")


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
async def stored(storage: Storage) -> AsyncIterator[tuple[Connection, Deployment, str]]:
    """A connection, the deployment that the database is bound to, and the database's URL."""
    from indexer.domain.deployment import parse_deployment
    from indexer.store import postgres
    from indexer.store.errors import NothingIndexed
    from indexer.store.writer import check_schema

    async with servers(storage, begun=True) as urls:
        connection = await postgres.connect(urls.database_url)
        try:
            await check_schema(connection)
            cursor = await connection.fetchrow(
                "select deployment from tidebook.cursors where block_number is not null"
            )
            if cursor is None:
                raise NothingIndexed
            yield connection, parse_deployment(cursor["deployment"].encode()), urls.database_url
        finally:
            await connection.close()
