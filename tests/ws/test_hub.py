"""Fan-out: encoded once, wrapped in each listener's own name, and never more memory than said."""

from indexer.domain.units import Address
from ws.channels import Channel
from ws.hub import Client, Farewell, Frame, Hub
from ws.limits import RESTARTED, SLOW

TRADES = Channel(Address("0x" + "a1" * 20), "trade")


async def test_everyone_gets_the_event_in_the_shape_they_asked_for() -> None:
    hub = Hub()
    bare, wrapped = Client(1000, combined=False), Client(1000, combined=True)
    hub.join(bare, "wethusdc@trade", TRADES)
    hub.join(wrapped, "weth-usdc@trade", TRADES)
    hub.publish(TRADES, b'{"e":"trade"}')
    assert await bare.take() == Frame('{"e":"trade"}', 13)
    frame = await wrapped.take()
    assert isinstance(frame, Frame)
    assert frame.text == '{"stream":"weth-usdc@trade","data":{"e":"trade"}}'


async def test_a_slow_client_loses_its_place_not_our_memory() -> None:
    hub = Hub()
    client = Client(30, combined=False)
    hub.join(client, "wethusdc@trade", TRADES)
    for _ in range(4):
        hub.publish(TRADES, b"0123456789")
    assert await client.take() == Farewell(SLOW, "more than 30 bytes behind")
    assert hub.slow_clients == 1


async def test_what_is_queued_comes_before_the_farewell() -> None:
    hub, client = Hub(), Client(100, combined=False)
    hub.clients.add(client)
    client.offer(Frame("last words", 10))
    hub.dismiss("rebuilt")
    assert await client.take() == Frame("last words", 10)
    assert await client.take() == Farewell(RESTARTED, "rebuilt")


def test_nobody_listens_after_the_last_has_left() -> None:
    hub, client = Hub(), Client(100, combined=False)
    hub.join(client, "wethusdc@trade", TRADES)
    assert hub.wants(TRADES)
    hub.leave(client, "wethusdc@trade", TRADES)
    assert not hub.wants(TRADES)
