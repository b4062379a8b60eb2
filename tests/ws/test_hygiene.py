"""Bad frames, greedy clients and silent ones: each gets its answer, and nobody else notices."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.ws.served import Chain, serving
from ws.app import Config
from ws.limits import NOT_TEXT, POLICY, Limits

ACCOUNTS = [f"0x{number:040x}" for number in range(10_000)]


async def hear(client: ClientConnection) -> Any:
    async with asyncio.timeout(5):
        while True:
            frame = json.loads(await client.recv())
            if frame.get("type") not in ("hello", "heartbeat", "subscribed"):
                return frame


async def hear_out(client: ClientConnection) -> None:
    while True:
        await hear(client)


async def closed_with(client: ClientConnection) -> int | None:
    with pytest.raises(ConnectionClosed) as closed:
        await hear_out(client)
    return closed.value.rcvd.code if closed.value.rcvd else None


@pytest.fixture
async def gateway(config: Config) -> AsyncIterator[str]:
    """One that lets clients talk as much as these tests do."""
    limits = Limits(
        inbound_per_s=100_000,
        native_inbound_per_s=100_000,
        inbound_bytes_per_s=10**8,
        address_inbound_per_s=100_000,
        address_inbound_bytes_per_s=10**8,
    )
    async with serving(replace(config, limits=limits)) as address:
        yield address


@pytest.mark.parametrize("path", ["ws", "v1"])
async def test_bad_frames_are_answered_and_nobody_else_notices(
    gateway: str, chain: Chain, path: str
) -> None:
    deep = '{"method":"SUBSCRIBE","params":' + "[" * 20_000 + "]" * 20_000 + ',"id":1}'
    wrong = ["", "{", "[]", "null", '{"method":7,"type":7}', '{"id":{}}', deep, '"' * 60_000]
    ends: dict[str | bytes, int] = {b"{}": NOT_TEXT, "x" * 70_000: 1009}
    async with connect(f"ws://{gateway}/ws/wethusdc@trade") as witness:
        async with connect(f"ws://{gateway}/{path}") as client:
            for text in wrong:
                await client.send(text)
                answer = await hear(client)
                assert "error" in (answer.get("type"), *answer), text[:50]
        for message, code in ends.items():
            async with connect(f"ws://{gateway}/{path}") as client:
                await client.send(message)
                assert await closed_with(client) == code
        async with connect(f"ws://{gateway}/{path}") as client:
            client.transport.write(b"\x81\x82\x00\x00\x00\x00\xff\xfe")  # no UTF-8
            assert await closed_with(client) == 1007
        await chain.trade(1)
        assert (await hear(witness))["e"] == "trade"


async def test_ten_thousand_streams_are_too_many(gateway: str) -> None:
    async with connect(f"ws://{gateway}/ws") as client:
        answers = []
        for begin in range(0, 10_000, 1_000):
            names = ACCOUNTS[begin : begin + 1_000]
            await client.send(json.dumps({"method": "SUBSCRIBE", "params": names, "id": begin}))
            answers.append(await hear(client))
        await client.send('{"method":"LIST_SUBSCRIPTIONS","id":1}')
        held = (await hear(client))["result"]
    words = "Invalid request: too many subscriptions, at most 1024 per connection"
    assert [one.get("msg") for one in answers] == [None, *[words] * 9]
    assert len(held) == 1_000


async def test_ten_thousand_channels_are_too_many(gateway: str) -> None:
    refused = 0
    async with connect(f"ws://{gateway}/v1", max_queue=None) as client:
        for number, account in enumerate(ACCOUNTS):
            data = {"channel": f"orders:{account}"}
            await client.send(json.dumps({"id": number, "type": "subscribe", "data": data}))
        while (frame := await hear(client))["id"] != len(ACCOUNTS) - 1:
            refused += frame["data"]["code"] == "too_many"
    assert refused == len(ACCOUNTS) - 1024 - 1


async def test_an_address_has_so_many_subscriptions_and_gets_them_back(config: Config) -> None:
    limits = Limits(subscriptions_per_address=2)
    names = ["wethusdc@trade", "wethusdc@depth", "wethusdc@ticker"]
    async with serving(replace(config, limits=limits)) as gateway:
        async with connect(f"ws://{gateway}/ws") as one, connect(f"ws://{gateway}/v1") as other:
            await one.send(json.dumps({"method": "SUBSCRIBE", "params": names[:2], "id": 1}))
            assert (await hear(one))["result"] is None
            request = {"type": "subscribe", "data": {"channel": "trades:wethusdc"}}
            await other.send(json.dumps(request))
            assert (await hear(other))["data"]["code"] == "too_many"
            await one.send(json.dumps({"method": "UNSUBSCRIBE", "params": names[:1], "id": 2}))
            assert (await hear(one))["result"] is None
            await other.send(json.dumps({"type": "subscribe", "data": {"channel": "system"}}))
            await other.send('{"type":"ping"}')
            assert (await hear(other))["type"] in ("pong", "error")  # no books in this test
        async with connect(f"ws://{gateway}/ws") as one:
            await one.send(json.dumps({"method": "SUBSCRIBE", "params": names[:2], "id": 3}))
            assert (await hear(one))["result"] is None


async def test_an_address_may_say_so_much_over_all_its_connections(config: Config) -> None:
    limits = Limits(address_inbound_bytes_per_s=2_000)
    async with (
        serving(replace(config, limits=limits)) as gateway,
        connect(f"ws://{gateway}/ws") as one,
        connect(f"ws://{gateway}/v1") as other,
    ):
        await one.send("x" * 1_500)
        assert (await hear(one))["code"] == 3
        await other.send("x" * 1_500)
        assert await closed_with(other) == POLICY
        assert other.close_reason == "more than 2000 bytes per second of one address"


async def test_who_does_not_answer_pings_is_closed(config: Config) -> None:
    limits = Limits(ping_interval_s=0.05, pong_timeout_s=0.1)
    async with (
        serving(replace(config, limits=limits)) as gateway,
        connect(f"ws://{gateway}/v1") as well,
        connect(f"ws://{gateway}/v1") as mute,
    ):
        mute.protocol.recv_frame = lambda frame: None  # type: ignore[method-assign]
        async with asyncio.timeout(5):
            await mute.connection_lost_waiter
        await well.send('{"type":"ping"}')
        assert (await hear(well))["type"] == "pong"
