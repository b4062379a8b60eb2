"""A Redis of an operator's: users that may do what `tidebook/servers.md` says, TLS, a database."""

import asyncio
import re
import shlex
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis.asyncio as redis

from analytics.consumer import Consumer
from indexer.relay import RedisUnsuitable, connect_redis, published, relay
from indexer.store.tail import Tail
from indexer.topics import SYSTEM
from indexer.wire import Message
from tests.faults.processes import running
from tests.store.chains import Chain, play
from tests.store.test_relay import CHAIN_ID, assert_equal, until
from tests.store.test_roles import DOCUMENT
from tests.story.market import free_port
from tidebook import embedded
from tidebook.embedded import binaries
from ws.markets import connect
from ws.native.past import Past

PASSWORD = "p@ss:w/rd#?&%20 é"
DATABASE = 15


@pytest.fixture
async def admin(servers: embedded.Urls) -> AsyncIterator[Any]:
    """The document's users, each with a password that a URL cannot hold as it is."""
    client: Any = redis.from_url(f"{servers.redis_url}?db={DATABASE}", protocol=2)
    await client.flushdb()
    await client.execute_command("ACL", "LOG", "RESET")
    (block,) = re.findall(r"```redis\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    for line in block.splitlines():
        await client.execute_command(*(word.replace("…", PASSWORD) for word in line.split()))
    yield client
    for line in block.splitlines():
        await client.acl_deluser(line.split()[2])
    await client.aclose()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 127.0.0.1, and its key in the same file."""
    both = tmp_path_factory.mktemp("certificate") / "both.pem"
    subprocess.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=x"
        f" -addext subjectAltName=IP:127.0.0.1 -keyout {both} -out {both}.crt -days 2".split(),
        check=True,
        capture_output=True,
    )
    both.write_text(both.read_text() + Path(f"{both}.crt").read_text())
    return both


@asynccontextmanager
async def with_tls(redis_url: str, certificate: Path) -> AsyncIterator[Callable[[str], str]]:
    """A TLS port before a Redis; URLs that lead there, by the name of a user."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, on = await asyncio.open_unix_connection(redis_url.removeprefix("unix://"))
        with suppress(OSError):
            await asyncio.gather(_pour(reader, on), _pour(back, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    where = f"127.0.0.1:{port}/{DATABASE}?ssl_ca_certs={certificate}"
    yield lambda user: f"rediss://{user}:{quote(PASSWORD, safe='')}@{where}"
    server.close()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(1 << 16):
        writer.write(piece)
        await writer.drain()
    writer.close()


async def test_the_documents_users_are_enough_over_tls(
    servers: embedded.Urls,
    admin: Any,
    certificate: Path,
    database_url: str,
    recordings: Path,
) -> None:
    chain = Chain(recordings / "gtx_chaos.jsonl.gz", 160)
    await play(database_url, chain, chain.to(0, 140))
    told: list[Message] = []

    async def take(messages: list[Message]) -> None:
        told.extend(messages)

    async def no_other() -> None:
        raise AssertionError("another history")

    async with with_tls(servers.redis_url, certificate) as url:
        reader = url("tidebook_reader")
        tail = Tail(reader, CHAIN_ID, take, no_other)
        consumer = Consumer(database_url, url("tidebook_analytics"), CHAIN_ID)
        works: list[Awaitable[None]] = [relay(database_url, url("tidebook_relay"))]
        async with beside(*works):
            await assert_equal(database_url, admin)
            async with beside(tail.run(), consumer.run()):
                await tail.positioned.wait()
                await consumer.keeping.wait()
                await play(database_url, chain, [chain.back_to(130), *chain.to(131, 160)])
                await assert_equal(database_url, admin)
                seq, _ = await published(reader, CHAIN_ID)
                await until(lambda: _is(told and told[-1].seq == seq))
                history: redis.Redis = redis.Redis.from_url(reader, protocol=2)
                past = Past(connect(database_url), history, CHAIN_ID, 10_000)
                await past._since_in_redis(SYSTEM, told[-1].epoch, seq, seq)
                await history.aclose()
    refused = await admin.execute_command("ACL", "LOG")
    assert [one[7] for one in refused if one[9].startswith(b"tidebook_")] == []


async def _is(condition: object) -> bool:
    return bool(condition)


@asynccontextmanager
async def beside(*works: Awaitable[None]) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(work) for work in works]
    yield
    for task in tasks:
        task.cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends


async def test_a_cluster_is_refused_in_one_line(
    servers: embedded.Urls, database_url: str, recordings: Path, tmp_path: Path
) -> None:
    chain = Chain(recordings / "gtx_chaos.jsonl.gz", 10)
    await play(database_url, chain, chain.to(0, 10))
    options = f"--cluster-port {free_port()} --cluster-enabled yes --save ''"
    async with server(tmp_path, options) as url:
        with pytest.raises(RedisUnsuitable, match=r"TIDEBOOK_REDIS_URL: .* is of a cluster"):
            await connect_redis(url)
        for name in ("ws", "analytics"):
            where = ("--database-url", database_url, "--redis-url", url, "--port", "0")
            async with running(name, *where) as service:
                assert "is of a cluster" in await service.hear("tidebook: ")
                assert await service.process.wait() == 2


async def test_a_sentinel_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "sentinel.conf").touch()
    async with server(tmp_path, "sentinel.conf --sentinel") as url:
        with pytest.raises(RedisUnsuitable, match=r"TIDEBOOK_REDIS_URL: .* is a Sentinel"):
            await connect_redis(url)


@asynccontextmanager
async def server(folder: Path, words: str) -> AsyncIterator[str]:
    """One of another kind than ours, by itself."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        binaries.valkey(),
        *shlex.split(f"{words} --port {port}"),
        cwd=folder,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        line = b""
        while b"Ready to accept connections" not in line and b"Sentinel ID is" not in line:
            line = await process.stdout.readline()
            assert line, "it does not start"
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


async def test_a_wrong_password_is_told_once_to_whom_a_gateway_belongs(
    admin: Any, servers: embedded.Urls, caplog: pytest.LogCaptureFixture
) -> None:
    async def nothing(*_: object) -> None:
        raise AssertionError("it was let in")

    where = servers.redis_url.removeprefix("unix://")
    tail = Tail(f"unix://tidebook_reader:wrong@{where}", CHAIN_ID, nothing, nothing)
    async with beside(tail.run()):
        await until(lambda: _is(len(caplog.records) == 1))
    assert "no Redis (invalid username-password pair" in caplog.text
