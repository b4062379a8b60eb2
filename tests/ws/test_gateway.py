"""A real gateway on a real Valkey, heard through the websockets library."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any

import aiohttp
import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from indexer.domain.units import Address
from indexer.wire import stream_key
from tests.ws.served import CHAIN_ID, MARKET, Chain, run, serving
from tidebook.ports import PortInUse
from ws.app import Config
from ws.limits import RESTARTED, SLOW, Limits


async def hear(client: ClientConnection) -> Any:
    async with asyncio.timeout(5):
        return json.loads(await client.recv())


async def hear_out(client: ClientConnection) -> None:
    while True:
        await hear(client)


async def subscribe(client: ClientConnection, *streams: str) -> None:
    await client.send(json.dumps({"method": "SUBSCRIBE", "params": streams, "id": 1}))
    assert await hear(client) == {"result": None, "id": 1}


async def test_a_subscriber_hears_trades_and_diffs(gateway: str, chain: Chain) -> None:
    async with connect(f"ws://{gateway}/ws") as client:
        await subscribe(client, "wethusdc@trade", "depth@wethusdc")
        trade = await chain.trade(2_000_500_000)
        assert await hear(client) == {
            "e": "trade",
            "E": 1_735_700_835_000,
            "s": "WETHUSDC",
            "t": 156 << 20 | trade.data["log_index"],
            "p": "2000.5",
            "q": "1",
            "T": 1_735_700_835_000,
            "m": True,
            "M": True,
        }
        await chain.bid(1_999_000_000, 5 * 10**17)
        diff = await hear(client)
        assert (diff["e"], diff["b"], diff["a"]) == ("depthUpdate", [["1999", "0.5"]], [])


async def test_diffs_are_chained_without_gap_through_a_reorg(gateway: str, chain: Chain) -> None:
    async with connect(f"ws://{gateway}/ws/depth@wethusdc/wethusdc@trade") as client:
        await chain.bid(1_999_000_000, 7)
        await chain.trade(2_000_000_000, op="retract")
        await chain.bid(1_999_000_000, 0, op="retract")
        await chain.bid(1_998_000_000, 9)
        diffs = [await hear(client) for _ in range(3)]
    assert [one["e"] for one in diffs] == ["depthUpdate"] * 3
    for before, after in pairwise(diffs):
        assert after["pu"] == before["u"]
        assert after["U"] == after["pu"] + 1
    assert [one["b"][0][1] for one in diffs] == [
        "0.000000000000000007",
        "0.00000000",
        "0.000000000000000009",
    ]


async def test_a_combined_stream_wraps_in_the_client_s_own_names(
    gateway: str, chain: Chain
) -> None:
    streams = f"weth-usdc@trade/{MARKET}@depth@100ms"
    async with connect(f"ws://{gateway}/stream?streams={streams}") as client:
        await chain.trade(2_000_000_000)
        first = await hear(client)
        await chain.bid(1, 1)
        second = await hear(client)
    assert (first["stream"], first["data"]["e"]) == ("weth-usdc@trade", "trade")
    assert (second["stream"], second["data"]["e"]) == (f"{MARKET}@depth@100ms", "depthUpdate")


async def test_after_unsubscribing_there_is_silence(gateway: str, chain: Chain) -> None:
    async with connect(f"ws://{gateway}/ws/wethusdc@trade/depth@wethusdc") as client:
        await client.send('{"method":"UNSUBSCRIBE","params":["wethusdc@trade"],"id":"u"}')
        assert await hear(client) == {"result": None, "id": "u"}
        await chain.trade(1)
        await chain.bid(1, 1)
        assert (await hear(client))["e"] == "depthUpdate"


async def test_a_market_created_meanwhile_is_looked_up(gateway: str, chain: Chain) -> None:
    newer = Address("0x" + "a2" * 20)
    await chain.list_market(newer, "WETH-USDC-2")
    await chain.trade(1, market=newer)
    async with asyncio.timeout(5):
        while True:
            try:
                async with connect(f"ws://{gateway}/ws/weth-usdc-2@trade") as client:
                    await chain.trade(2, market=newer)
                    assert (await hear(client))["s"] == "WETHUSDC2"
                    return
            except InvalidStatus:
                await asyncio.sleep(0.05)


async def test_an_unknown_stream_in_the_url_is_a_400(gateway: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"ws://{gateway}/ws/btcusdt@trade")
    assert refused.value.response.status_code == 400
    body = json.loads(refused.value.response.body or b"")
    assert body == {"code": 2, "msg": "Invalid request: invalid stream btcusdt@trade"}


async def test_what_was_published_before_is_not_repeated(config: Config, chain: Chain) -> None:
    await chain.trade(1_000_000)
    async with serving(config) as gateway, connect(f"ws://{gateway}/ws/wethusdc@trade") as client:
        await wait_for_redis(gateway)
        await chain.trade(2_000_000)
        assert (await hear(client))["p"] == "2"


async def wait_for_redis(gateway: str, *, up: bool = True) -> dict[str, Any]:
    """Until /health says that Redis is, or is not, there."""
    async with asyncio.timeout(5), aiohttp.ClientSession() as http:
        while True:
            async with http.get(f"http://{gateway}/health") as response:
                told: dict[str, Any] = await response.json()
                assert response.status == (200 if told["redis"] else 503)
                if told["redis"] == up:
                    return told
            await asyncio.sleep(0.02)


async def test_a_rebuilt_history_closes_its_listeners_and_goes_on(
    gateway: str, chain: Chain
) -> None:
    async with connect(f"ws://{gateway}/ws/wethusdc@trade") as client:
        await chain.trade(1_000_000)
        await hear(client)
        await chain.rebuild("e2")
        await chain.trade(2_000_000)
        with pytest.raises(ConnectionClosed) as closed:
            await hear(client)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == RESTARTED
    async with connect(f"ws://{gateway}/ws/wethusdc@trade") as client:
        await chain.trade(3_000_000)
        assert (await hear(client))["p"] == "3"
    assert (await wait_for_redis(gateway))["epoch"] == "e2"


async def test_redis_may_go_and_come_back(config: Config, chain: Chain) -> None:
    """A proxy stands for the server: it is cut, entries come in meanwhile, none is lost."""
    path = config.redis_url.removeprefix("unix://").partition("?")[0]
    database = config.redis_url.partition("?")[2]
    cut: set[asyncio.StreamWriter] = set()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_unix_connection(path)
        cut.update((writer, up_writer))
        await asyncio.gather(pipe(reader, up_writer), pipe(up_reader, writer))

    async def open_proxy(port: int) -> asyncio.Server:
        return await asyncio.start_server(relay, "127.0.0.1", port)

    proxy = await open_proxy(0)
    port = proxy.sockets[0].getsockname()[1]
    through = replace(config, redis_url=f"redis://127.0.0.1:{port}/{database.removeprefix('db=')}")
    async with serving(through) as gateway:
        await wait_for_redis(gateway)
        async with connect(f"ws://{gateway}/ws/wethusdc@trade") as client:
            await chain.trade(1_000_000)
            await hear(client)
            proxy.close()
            for writer in cut:
                writer.close()
            await wait_for_redis(gateway, up=False)
            await chain.trade(2_000_000)
            await chain.trade(3_000_000)
            proxy = await open_proxy(port)
            assert [(await hear(client))["p"] for _ in range(2)] == ["2", "3"]
    proxy.close()


@asynccontextmanager
async def narrow(gateway: str, streams: str) -> AsyncIterator[ClientConnection]:
    """A client that takes next to nothing until it is read."""
    host, port = gateway.split(":")
    pipe = socket.socket()
    pipe.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    pipe.connect((host, int(port)))
    url = f"ws://{gateway}/ws/{streams}"
    async with connect(url, sock=pipe, max_queue=1, max_size=None) as client:
        yield client


async def test_a_slow_reader_of_trades_is_closed_and_nobody_else_notices(
    config: Config, chain: Chain
) -> None:
    limits = Limits(queue_bytes=80_000, send_buffer_bytes=8192)
    async with serving(replace(config, limits=limits)) as gateway:
        await wait_for_redis(gateway)
        url = f"ws://{gateway}/ws/wethusdc@trade"
        async with narrow(gateway, "wethusdc@trade") as slow, connect(url) as quick:
            for _ in range(10):
                for _ in range(29):
                    await chain.trade(int("7" * 1000), relayed=False)
                await chain.trade(1)
                while (await hear(quick))["p"] != "0.000001":
                    pass
            with pytest.raises(ConnectionClosed) as closed:
                await hear_out(slow)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == SLOW
        assert closed.value.rcvd.reason.startswith("too slow: resume on /v1 from e1/")


async def test_a_slow_book_is_told_in_one_diff_without_a_gap(config: Config, chain: Chain) -> None:
    limits = Limits(queue_bytes=60_000, send_buffer_bytes=8192)
    async with serving(replace(config, limits=limits)) as gateway:
        await wait_for_redis(gateway)
        async with narrow(gateway, "depth@wethusdc") as slow:
            for number in range(1, 101):
                bids = [[str(10**9 + i), str(number), 1] for i in range(200)]
                last = {"bids": [*bids, [str(number), "1", 1]], "asks": []}
                await chain.publish("depth", "apply", last, relayed=number % 20 == 0)
            diffs = [await hear(slow)]
            while diffs[-1]["u"] < 100:
                diffs.append(await hear(slow))
    assert len(diffs) < 100
    assert all(after["pu"] == before["u"] for before, after in pairwise(diffs))
    book = dict(level for diff in diffs for level in diff["b"])
    assert len(book) == 300
    assert {book[str(1000 + i / 10**6).rstrip("0").rstrip(".")] for i in range(1, 200)} == {
        "0.0000000000000001"
    }


async def test_connections_are_limited(config: Config) -> None:
    async with serving(replace(config, limits=Limits(connections=1))) as gateway:
        client = await connect(f"ws://{gateway}/ws")
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://{gateway}/ws")
        assert refused.value.response.status_code == 503
        await client.close()


async def test_health_and_metrics(gateway: str, chain: Chain, http: aiohttp.ClientSession) -> None:
    await wait_for_redis(gateway)
    async with connect(f"ws://{gateway}/ws/wethusdc@trade") as client:
        await chain.trade(1)
        await hear(client)
        health = await wait_for_redis(gateway)
        assert (health["seq"], health["connections"], health["markets"]) == (1, 1, 1)
        async with http.get(f"http://{gateway}/metrics") as response:
            text = await response.text()
    assert 'tidebook_ws_messages_total{stream="trades"} 1.0' in text
    assert "tidebook_ws_connections 1.0" in text


async def test_a_port_in_use_is_named(gateway: str, config: Config) -> None:
    port = int(gateway.split(":")[1])
    with pytest.raises(PortInUse, match=rf"port {port} on 127\.0\.0\.1 is in use"):
        async with serving(config, port):
            pass


async def test_stopping_closes_the_clients(config: Config) -> None:
    async with serving(config) as gateway:
        client = await connect(f"ws://{gateway}/ws")
    await asyncio.wait_for(client.wait_closed(), 10)
    assert client.close_code == RESTARTED


async def test_a_fault_of_ours_ends_the_process(config: Config, chain: Chain) -> None:
    task = asyncio.create_task(run(config, 0, lambda port: None))
    await asyncio.sleep(0.5)
    await chain.redis.xadd(stream_key(CHAIN_ID, "trades"), {"m": "{}"})
    with pytest.raises(msgspec.ValidationError, match="missing required field"):
        await asyncio.wait_for(task, 5)
