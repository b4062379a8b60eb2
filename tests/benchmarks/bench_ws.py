"""What a fan-out costs the gateway, beside websockets.broadcast in the same run; memory of many.

.venv/bin/python -m tests.benchmarks.bench_ws [connections of the memory run]

Servers run in a process of their own, and their CPU time is what counts; readers only drain.
"""

import asyncio
import multiprocessing
import os
import resource
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn
import websockets
from starlette.websockets import WebSocket
from websockets.asyncio.server import ServerConnection, serve

from indexer.domain.units import Address
from tests.listed import listing
from tidebook.serving import listen
from ws.app import server_options
from ws.channels import Channel
from ws.converse import in_binances_words
from ws.gateway import Gateway
from ws.limits import Limits

READERS = 1_000
BROADCASTS = 200
PAYLOAD = b'{"e":"trade","x":"' + b"x" * 280 + b'"}'
ROUNDS = 3
MOST_RATIO = 1.0
MANY = 10_000
MOST_KB_A_CONNECTION = 32
LEAST_MESSAGES_A_S = 150_000
CHANNEL = Channel(Address("0x" + "a1" * 20), "trade")
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def ours(orders: Connection) -> None:
    """A gateway as it serves connections, but for Postgres and Redis, which stay unasked."""
    limits = Limits(connections=20_000, connections_per_address=20_000)
    gateway = Gateway("postgresql://nowhere", "redis://nowhere", 1, limits)
    gateway.directory.fill([listing(CHANNEL.market, "WETH-USDC")])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        websocket = WebSocket(scope, receive, send)
        await in_binances_words(gateway, websocket, "wethusdc@trade", combined=False)

    listener = listen("127.0.0.1", 0)
    options: Any = {**server_options(limits), "lifespan": "off", "log_level": "critical"}
    server = uvicorn.Server(uvicorn.Config(app, **options))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    orders.send(listener.getsockname()[1])
    hub = gateway.hub
    await obey(orders, lambda: hub.publish(CHANNEL, PAYLOAD), lambda: len(hub))
    serving.cancel()


async def theirs(orders: Connection) -> None:
    """The websockets library as it recommends itself."""
    clients: set[ServerConnection] = set()

    async def stay(client: ServerConnection) -> None:
        clients.add(client)
        await client.wait_closed()
        clients.discard(client)

    async with serve(stay, "127.0.0.1", 0, compression=None) as server:
        orders.send(next(iter(server.sockets)).getsockname()[1])
        text = PAYLOAD.decode()
        await obey(orders, lambda: websockets.broadcast(clients, text), lambda: len(clients))


async def obey(orders: Connection, publish: Any, count: Any) -> None:
    """Broadcast when told; say what it cost in CPU seconds, and how much memory we have."""
    while True:
        while not orders.poll():
            await asyncio.sleep(0.005)
        match orders.recv():
            case "count":
                orders.send((count(), resident_kb()))
            case int(rounds):
                begun = time.process_time()
                for _ in range(rounds):
                    publish()
                    await asyncio.sleep(0)
                orders.send(time.process_time() - begun)
            case _:
                return


def resident_kb() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * (os.sysconf("SC_PAGE_SIZE") // 1024)


def run(server: Any, orders: Connection) -> None:
    asyncio.run(server(orders))


class Reader(asyncio.Protocol):
    """Shakes hands and takes whatever comes."""

    taken = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(HANDSHAKE)

    def data_received(self, data: bytes) -> None:
        Reader.taken += len(data)


class Measured(NamedTuple):
    cpu_us: float
    """CPU of the server for one message to one client."""
    kb: float
    """Resident memory of the server for one connection."""
    messages_a_s: float
    """Messages that all readers together had received, by the clock on the wall."""


async def measure(server: Any, readers: int, broadcasts: int) -> Measured:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=run, args=(server, there))
    process.start()
    port = await asyncio.to_thread(here.recv)
    loop, held = asyncio.get_running_loop(), []

    async def ask(order: Any) -> Any:
        here.send(order)
        return await asyncio.to_thread(here.recv)

    _, empty_kb = await ask("count")
    for begin in range(0, readers, 200):
        some = range(begin, min(begin + 200, readers))
        held += await asyncio.gather(
            *(loop.create_connection(Reader, "127.0.0.1", port) for _ in some)
        )
    while (told := await ask("count"))[0] < readers:
        await asyncio.sleep(0.02)
    kb = (told[1] - empty_kb) / readers
    before, begun = Reader.taken, time.perf_counter()
    cpu_s = await ask(broadcasts)
    async with asyncio.timeout(60):
        while Reader.taken - before < readers * broadcasts * len(PAYLOAD):
            await asyncio.sleep(0.01)
    wall_s = time.perf_counter() - begun
    here.send("stop")
    for transport, _ in held:
        transport.abort()
    await asyncio.to_thread(process.join, 10)
    process.kill()
    messages = readers * broadcasts
    return Measured(cpu_s / messages * 1e6, kb, messages / wall_s)


async def compare() -> tuple[Measured, Measured]:
    """The best of some rounds each, in turn."""
    mine, others = [], []
    for _ in range(ROUNDS):
        mine.append(await measure(ours, READERS, BROADCASTS))
        others.append(await measure(theirs, READERS, BROADCASTS))
    return min(mine), min(others)


def test_our_fan_out_costs_no_more_than_broadcast() -> None:
    mine, others = asyncio.run(compare())
    print(f"\nto {READERS} clients, load {os.getloadavg()[0]:.1f}")  # noqa: T201
    for name, one in (("ours", mine), ("websockets.broadcast", others)):
        print(  # noqa: T201
            f"{name}: {one.cpu_us:.1f} us CPU/message, {1e6 / one.cpu_us:,.0f} messages/s a core, "
            f"{one.messages_a_s:,.0f}/s received"
        )
    print(f"ratio {mine.cpu_us / others.cpu_us:.2f}")  # noqa: T201
    assert mine.cpu_us / others.cpu_us < MOST_RATIO
    assert 1e6 / mine.cpu_us > LEAST_MESSAGES_A_S


def test_ten_thousand_connections() -> None:
    many = int(sys.argv[1]) if sys.argv[1:] and sys.argv[1].isdigit() else MANY
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
    _, kb, _ = asyncio.run(measure(ours, many, 3))
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    print(f"\n{many} connections: {kb:.1f} KB each, load {os.getloadavg()[0]:.1f}")  # noqa: T201
    assert kb < MOST_KB_A_CONNECTION


if __name__ == "__main__":
    test_our_fan_out_costs_no_more_than_broadcast()
    test_ten_thousand_connections()
