"""A backfill that is killed in the middle of a batch loses that batch, and nothing else."""

import asyncio
import contextlib
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from indexer.decode import decode
from indexer.mirror.fold import Mirror
from indexer.store import postgres
from indexer.store.indexes import MISSING
from tests.benchmarks.chains import DEPLOYMENT, blocks
from tests.benchmarks.player import playing

EVENTS, COMMIT_EVENTS = 11_000, 1_500
WRITER = f"""
import indexer.chain.backfill, indexer.store.indexes, indexer.store.past, tidebook.cli
indexer.store.indexes.LEAST_BLOCKS = 1
indexer.store.past.COMMIT_EVENTS = {COMMIT_EVENTS}
indexer.chain.backfill.AIM_LOGS = 500
tidebook.cli.main()
"""


@asynccontextmanager
async def writing(url: str, node: str, folder: Path) -> AsyncIterator[Process]:
    """`tidebook index` with small batches, killed at the end of the block."""
    options = ("index", "--rpc", node, "--database-url", url, "--data-dir", str(folder))
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, *options)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.wait()


async def reach(connection: postgres.Connection, number: int) -> int:
    """The cursor's block, once it is at least `number`."""
    async with asyncio.timeout(60):
        while True:
            at: int = await connection.fetchval("select max(block_number) from tidebook.cursors")
            if (at or 0) >= number:
                return at
            await asyncio.sleep(0.005)


async def test_a_backfill_killed_in_a_batch_goes_on_where_the_batch_began(
    database_url: str, tmp_path: Path
) -> None:
    chain = list(blocks(EVENTS))
    head = chain[-1].number
    connection = await postgres.connect(database_url)
    with playing(EVENTS, "--open", "0") as (node, _):
        async with writing(database_url, node, tmp_path):
            await reach(connection, 1)
        at = await reach(connection, 1)
        stored = await connection.fetchval("select count(*) from tidebook.events")
        assert stored == sum(len(block.logs) for block in chain if block.number <= at)
        assert at < head, "it was killed too late to tell"
        assert await connection.fetchval(f"select {MISSING}") > 0
        async with writing(database_url, node, tmp_path):
            await reach(connection, head)
            async with asyncio.timeout(30):
                while await connection.fetchval(f"select {MISSING}"):
                    await asyncio.sleep(0.005)
    mirror = Mirror(DEPLOYMENT)
    tokens = [t for address in DEPLOYMENT.tokens if (t := DEPLOYMENT.token(address)) is not None]
    for block in chain:
        mirror.apply(block.block, decode(block.block, block.logs), tokens, final=True)
    found = await connection.fetch(
        "select account, token, available, locked from tidebook.balances"
    )
    balances = mirror.ledger.balances.rows.values()
    assert {tuple(row) for row in found} == {
        (one.account, one.token, one.available, one.locked) for one in balances
    }
    levels = await connection.fetch("select market, side, price, quantity from tidebook.levels")
    assert {tuple(row) for row in levels} == {
        (one.market, one.side, one.price, one.quantity)
        for book in mirror.books.values()
        for one in book.levels.rows.values()
    }
    await connection.close()
