"""A connection pooler between us and Postgres: one that keeps a server for a session, or not."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from sqlalchemy import select

from indexer.store import postgres
from indexer.store.postgres import DatabaseUnreachable, require_session
from indexer.store.snapshot import Snapshot, connect
from tests.faults.proxy import tcp_proxy
from tests.store.chains import Chain, play
from tests.story.market import free_port
from ws import markets

NOT_POSTGRES = -1


class Pooled:
    """A pooler's client: it is told another number than its server's, which may not be its own."""

    def __init__(self, server: Any) -> None:
        self.execute, self._server = server.execute, server

    def get_server_pid(self) -> int:
        return NOT_POSTGRES

    def terminate(self) -> None:
        """What it has begun, the pooler ends."""


@pytest.mark.parametrize("by", ["session", "transaction"])
async def test_only_a_pooler_by_transaction_is_refused(database_url: str, by: str) -> None:
    servers: list[Any] = [await asyncpg.connect(database_url) for _ in range(2)]

    async def another() -> Any:
        return Pooled(servers[1 if by == "session" else 0])

    if by == "session":
        await require_session(Pooled(servers[0]), another)  # type: ignore[arg-type]
    else:
        with pytest.raises(DatabaseUnreachable, match="a pooler there gives each transaction"):
            await require_session(Pooled(servers[0]), another)  # type: ignore[arg-type]
    for server in servers:
        await server.close()


async def test_pgbouncer_by_transaction_is_refused(database_url: str) -> None:
    async with pgbouncer(database_url, "transaction") as url:
        for _ in range(3):
            with pytest.raises(DatabaseUnreachable, match="a pooler there gives each transaction"):
                await postgres.connect(url)


async def test_pgbouncer_by_session_serves_everybody(database_url: str, recordings: Path) -> None:
    chain = Chain(recordings / "gtx_chaos.jsonl.gz", 20)
    async with pgbouncer(database_url, "session") as url:
        await play(url, chain, chain.to(0, 20))
        snapshot = Snapshot(pool := connect(url, 2, 5))
        assert await snapshot.read(select(1))
        await snapshot.close()
        await pool.dispose()
        for pooled in (True, False):
            engine = markets.connect(url, pooled=pooled)
            assert await markets.read_listings(engine)
            await engine.dispose()


@asynccontextmanager
async def pgbouncer(database_url: str, mode: str) -> AsyncIterator[str]:
    """A real one, where it is installed."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("pgbouncer is not installed")
    async with tcp_proxy(database_url) as (_, server):
        port = free_port()
        settings = f"""
[databases]
* = host=127.0.0.1 port={urlsplit(server).port} user={urlsplit(server).username}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
server_tls_sslmode = disable
pool_mode = {mode}
"""
        nobody: Any = (
            {"user": 65534, "group": 65534, "extra_groups": []} if os.getuid() == 0 else {}
        )
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(settings)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            process = await asyncio.create_subprocess_exec(
                program, file.name, stderr=asyncio.subprocess.PIPE, **nobody
            )
            assert process.stderr is not None
            while b"process up" not in (line := await process.stderr.readline()):
                assert line, "it does not start"
        yield server.replace(f":{urlsplit(server).port}/", f":{port}/")
        process.kill()
        await process.wait()
