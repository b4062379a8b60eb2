"""`tidebook up`: servers, chain, writer, relay and readers as one, on one machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import redis.asyncio as redis
from redis.exceptions import RedisError

from indexer.chain.urls import masked
from indexer.store import postgres
from tidebook import embedded
from tidebook.ports import require_free
from tidebook.progress import announce, warn
from tidebook.settings import BadSetting, Chain, Flow, Storage, find_deployment, read_deployment
from tidebook.stores import servers
from tidebook.supervised import LONGEST_PAUSE_S, Service
from tidebook.tasks import ensure_schema

HOST = "127.0.0.1"
WATCH_S = 0.5
"""Between two looks at whether the embedded servers live."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What `up` starts, and on which ports."""

    storage: Storage
    chain: Chain
    flow: Flow
    devnet_port: int
    api_port: int
    ws_port: int
    analytics_port: int

    @property
    def own_chain(self) -> bool:
        """No node was named, so the devnet is ours."""
        return not self.chain.rpc_urls

    @property
    def rpc_urls(self) -> tuple[str, ...]:
        return (f"ws://{HOST}:{self.devnet_port}",) if self.own_chain else self.chain.rpc_urls


async def run(plan: Plan) -> None:
    """Start everything, print where it is, and keep it alive until Ctrl-C or SIGTERM."""
    task = asyncio.current_task()
    assert task is not None, "inside asyncio.run"
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    _require_sense(plan.chain)
    if not plan.storage.data_dir.exists():
        _require_ports(plan)  # before a directory is made for nothing
    with contextlib.suppress(asyncio.CancelledError), _alone(plan.storage.data_dir):
        _require_ports(plan)
        if not plan.own_chain:
            await find_deployment(plan.chain)
        async with servers(plan.storage, redis=True) as urls:
            await _run_services(plan, urls)


def _require_sense(chain: Chain) -> None:
    """Raise BadSetting for what no server and no node is needed to see."""
    if chain.rpc_urls:
        _ = chain.rpc_url
    if chain.deployment_file is not None:
        read_deployment(chain.deployment_file)


def _require_ports(plan: Plan) -> None:
    ports = [(plan.api_port, "--api-port"), (plan.ws_port, "--ws-port")]
    ports.append((plan.analytics_port, "--analytics-port"))
    if plan.own_chain:
        ports.append((plan.devnet_port, "--devnet-port"))
    named: dict[int, str] = {}
    for port, flag in ports:
        if port in named:
            raise BadSetting(f"{named[port]} and {flag} are both {port}: choose another for one")
        named[port] = flag
        require_free(HOST, port, flag)


@contextlib.contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    """Be the one `up` of the data directory. Raises DataDirUnusable if there is another."""
    from tidebook.embedded.place import open_lock, try_lock, unusable  # not on Windows

    try:
        data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
        lock = open_lock(data_dir / "up.lock")
    except OSError as error:
        raise unusable(data_dir, error) from error
    try:
        if not try_lock(lock):
            pid = os.pread(lock, 32, 0).decode().strip()
            raise embedded.DataDirUnusable(
                f"another `tidebook up` (process {pid or 'unknown'}) works in {data_dir}: "
                "stop it, or choose another --data-dir"
            )
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(lock)


async def _run_services(plan: Plan, urls: embedded.Urls) -> None:
    logs = plan.storage.data_dir / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    await ensure_schema(urls.database_url)
    services = _services(plan, urls, logs)
    try:
        announce(f"starting {', '.join(services)}")
        async with asyncio.TaskGroup() as group:  # importing takes longest: all at once
            for name, service in services.items():
                if name != "index":
                    group.create_task(service.start())
        if plan.own_chain:
            await services["devnet"].become_healthy()
        await services["index"].start()
        for service in services.values():
            announce(f"waiting for {service.name}")
            await service.become_healthy()
        _print_urls(plan, urls)
        async with asyncio.TaskGroup() as group:
            for service in services.values():
                group.create_task(service.keep_alive(warn))
            group.create_task(_keep_servers(plan.storage))
    finally:
        await asyncio.gather(*(service.stop() for service in services.values()))


async def _keep_servers(storage: Storage) -> None:
    """Bring a server back that has died, until cancelled. Its URL stays: the path of a socket."""
    postgres, valkey = storage.database_url is None, storage.redis_url is None

    def bring_back() -> None:
        with embedded.servers(storage.data_dir, announce, postgres=postgres, valkey=valkey):
            pass  # the seat that `up` has held all the time keeps it from now on

    pause_s = WATCH_S
    while True:
        await asyncio.sleep(pause_s)
        lost = embedded.lost(storage.data_dir, postgres=postgres, valkey=valkey)
        for title, log in lost.items():
            warn(f"{title} has ended (log: {log}); starting it again")
        try:
            if lost:
                await asyncio.to_thread(bring_back)
            pause_s = WATCH_S
        except embedded.EmbeddedError as error:  # a full disk, say: somebody may make room
            warn(str(error))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def _services(plan: Plan, urls: embedded.Urls, logs: Path) -> dict[str, Service]:
    environment = {
        "TIDEBOOK_DATABASE_URL": urls.database_url,
        "TIDEBOOK_REDIS_URL": urls.redis_url,
        "TIDEBOOK_RPC_URLS": " ".join(plan.rpc_urls),
        "TIDEBOOK_DATA_DIR": str(plan.storage.data_dir),
    }
    index = ["index", "--confirmations", str(plan.chain.confirmations)]
    index += ["--compare-every", str(plan.chain.compare_every)]
    if plan.chain.deployment_file is not None:
        index += ["--deployment", str(plan.chain.deployment_file)]
    devnet = ["devnet", "--port", str(plan.devnet_port), "--seed", str(plan.flow.seed)]
    devnet += ["--rate", str(plan.flow.rate), "--block-time", str(plan.flow.block_time_s)]
    devnet += ["--data-dir", str(plan.storage.data_dir)]
    api, ws = f"http://{HOST}:{plan.api_port}/health", f"http://{HOST}:{plan.ws_port}/health"
    deployment = f"http://{HOST}:{plan.devnet_port}/deployment"
    planned: list[tuple[str, list[str], Callable[[], Awaitable[bool]]]] = [
        ("devnet", devnet, lambda: _answers(deployment)),
        ("index", index, lambda: _has_indexed(urls.database_url)),
        ("relay", ["relay"], lambda: _has_relayed(urls.redis_url)),
        ("api", _api(plan), lambda: _answers(api)),
        ("ws", _ws(plan), lambda: _feeds(ws, urls.database_url)),
        (
            "analytics",
            ["analytics", "--port", str(plan.analytics_port)],
            lambda: _answers(f"http://{HOST}:{plan.analytics_port}/health"),
        ),
    ]
    return {
        name: Service(name, arguments, environment, logs / f"{name}.log", healthy)
        for name, arguments, healthy in planned
        if plan.own_chain or name != "devnet"
    }


def _api(plan: Plan) -> list[str]:
    arguments = ["api", "--port", str(plan.api_port)]
    arguments += ["--feed-url", f"ws://{HOST}:{plan.ws_port}/v1"]
    arguments += ["--analytics-url", f"http://{HOST}:{plan.analytics_port}"]
    if plan.own_chain:
        arguments += ["--devnet-url", f"http://{HOST}:{plan.devnet_port}"]
    return arguments


def _ws(plan: Plan) -> list[str]:
    """The feed lets our own page in, by either of the names this machine has for itself."""
    arguments = ["ws", "--port", str(plan.ws_port)]
    for host in (HOST, "localhost"):
        arguments += ["--origin", f"http://{host}:{plan.api_port}"]
    return arguments


# -- health --------------------------------------------------------------------------------------


async def _answers(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return response.status == 200
    except (aiohttp.ClientError, OSError):
        return False


async def _has_indexed(database_url: str) -> bool:
    """The writer has come to the head once.

    It tells what happens there as soon as something does: `live` waits for a block that is not
    final yet, which a quiet chain may not have.
    """
    there = "block_number is not null and (live or block_number >= head_number)"
    return bool(await _ask(database_url, f"select {there} from tidebook.cursors"))


async def _feeds(url: str, database_url: str) -> bool:
    """The gateway answers, and knows the markets there are."""
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            known = (await response.json())["markets"] if response.status == 200 else -1
    except (aiohttp.ClientError, OSError):
        return False
    return bool(known >= await _ask(database_url, "select count(*) from tidebook.markets"))


async def _ask(database_url: str, query: str) -> Any:
    connection = await postgres.connect(database_url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def _has_relayed(redis_url: str) -> bool:
    client: redis.Redis = redis.from_url(redis_url, protocol=2)
    try:
        return bool([key async for key in client.scan_iter("tidebook:*:relay")])
    except RedisError:
        return False
    finally:
        await client.aclose()


# -- what the user sees --------------------------------------------------------------------------


def _print_urls(plan: Plan, urls: embedded.Urls) -> None:
    storage = plan.storage  # the URLs of embedded servers hold no secret
    rows = [
        ("page", f"http://{HOST}:{plan.api_port}/"),
        ("GraphQL", f"http://{HOST}:{plan.api_port}/graphql"),
        ("websocket", f"ws://{HOST}:{plan.ws_port}/ws"),
        ("analytics", f"http://{HOST}:{plan.analytics_port}/docs"),
        ("node", " ".join(map(masked, plan.rpc_urls))),
        ("Postgres", masked(urls.database_url) if storage.database_url else urls.database_url),
        ("Redis", masked(urls.redis_url) if storage.redis_url else urls.redis_url),
        ("logs", str(storage.data_dir / "logs")),
    ]
    width = max(len(name) for name, _ in rows)
    lines = [f"  {name:<{width}}  {where}" for name, where in rows]
    print("\nTidebook is up. Ctrl-C stops it.\n", *lines, "", sep="\n", flush=True)  # noqa: T201
