"""The process: it says when it answers, why it cannot start, and stops when told."""

import asyncio
import signal
import socket
import sys
from typing import Any

import aiohttp
import asyncpg
import pytest

from api.app import Config
from indexer.store.indexes import SPARED
from indexer.store.statements import Postgres
from tests.api.served import serving
from tests.indexed import Indexed
from tidebook.ports import CannotListen, PortInUse
from tidebook.serving import listen


async def test_health_readiness_and_metrics(
    base_url: str, http: aiohttp.ClientSession, indexed: Indexed
) -> None:
    async with http.get(f"{base_url}/health") as response:
        assert (response.status, await response.json()) == (200, {"status": "ok", "database": True})
    async with http.get(f"{base_url}/ready") as response:
        assert (response.status, (await response.json())["status"]) == (200, "ready")
    async with http.post(f"{base_url}/graphql", json={"query": "{ _meta { seq } }"}):
        pass
    async with http.get(f"{base_url}/metrics") as response:
        shown = (await response.text()).splitlines()
    assert any(line.startswith('tidebook_api_requests_total{status="200"} ') for line in shown)
    assert {"tidebook_api_database_up 1.0", "tidebook_writer_up 0.0"} <= set(shown)
    assert any(line.startswith("tidebook_indexed_age_seconds ") for line in shown)


async def test_the_chain_must_be_the_database_s(
    http: aiohttp.ClientSession, indexed: Indexed
) -> None:
    async with (
        serving(Config(indexed.database_url, 999)) as url,
        http.get(f"{url}/ready") as response,
    ):
        assert response.status == 503
        assert "expected 999" in (await response.json())["reason"]


async def test_a_database_is_not_ready_while_a_first_sync_goes_without_indexes(
    base_url: str, http: aiohttp.ClientSession, indexed: Indexed
) -> None:
    """What is asked meanwhile is answered all the same."""
    connection: Any = await asyncpg.connect(indexed.database_url)
    query = {"query": "{ markets { symbol } trades(first: 3) { price } }"}
    async with http.post(f"{base_url}/graphql", json=query) as response:
        before = await response.text()
    assert await Postgres(connection).drop_indexes(SPARED)
    try:
        async with http.get(f"{base_url}/ready") as response:
            assert response.status == 503
            assert "indexes are being built" in (await response.json())["reason"]
        async with http.post(f"{base_url}/graphql", json=query) as response:
            assert await response.text() == before
    finally:
        await Postgres(connection).create_indexes(SPARED)
        await connection.close()
    async with http.get(f"{base_url}/ready") as response:
        assert response.status == 200


async def test_a_port_in_use_is_named(base_url: str) -> None:
    port = int(base_url.rsplit(":", 1)[1])
    with pytest.raises(PortInUse, match=rf"port {port} on 127\.0\.0\.1 is in use"):
        await serving(Config("postgresql://", 1), port=port).__aenter__()
    with pytest.raises(CannotListen, match=r"203\.0\.113\.1"):
        await serving(Config("postgresql://", 1), host="203.0.113.1").__aenter__()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_cleanly(number: signal.Signals) -> None:
    program = (
        "import asyncio; from api.app import Config, build; from tidebook.serving import serve\n"
        "tell = lambda port: print(port, flush=True)\n"
        "app = build(Config('postgresql://nobody@127.0.0.1:1/none', 1))\n"
        "asyncio.run(serve(app, '127.0.0.1', 0, tell))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    async with aiohttp.ClientSession() as session:  # kept alive over the end
        async with session.get(f"http://127.0.0.1:{port}/metrics") as response:
            assert "tidebook_api_database_up 0.0" in (await response.text()).splitlines()
        process.send_signal(number)
        assert await asyncio.wait_for(process.wait(), 10) == 0


def test_an_answer_in_two_segments_does_not_wait_between_them() -> None:
    """Not for the caller's acknowledgement of the first, which comes 40 ms later."""
    with listen("127.0.0.1", 0) as listener:
        with socket.create_connection(listener.getsockname()):
            accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
