"""Fan-out: encoded and framed once, wrapped in each listener's own name, and memory as said."""

import json
from typing import Any

import pytest

from indexer.domain.units import Address
from ws.channels import Channel
from ws.hub import Client, Hub
from ws.limits import RESTARTED, SLOW
from ws.outlet import text_frame

TRADES = Channel(Address("0x" + "a1" * 20), "trade")


class Reader:
    """An outlet whose other end reads when told to."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.waiting = 0
        self.goodbye: tuple[int, str] | None = None

    def write(self, frame: bytes) -> None:
        assert self.goodbye is None, "a frame behind the farewell"
        self.written.append(frame)
        self.waiting += len(frame)

    def buffered(self) -> int:
        return self.waiting

    def farewell(self, code: int, reason: str) -> None:
        self.goodbye = (code, reason)

    async def drained(self) -> None:
        self.waiting = 0

    def read(self) -> list[Any]:
        """Everything written so far."""
        frames, self.written, self.waiting = self.written, [], 0
        return [json.loads(unframed(frame)) for frame in frames]


def unframed(frame: bytes) -> bytes:
    """The payload of a server's text frame."""
    assert frame[0] == 0x81
    return frame[{126: 4, 127: 10}.get(frame[1], 2) :]


def test_everyone_gets_the_event_in_the_shape_they_asked_for() -> None:
    hub, bare, wrapped = Hub(), Reader(), Reader()
    hub.join(Client(bare, 1000), "wethusdc@trade", TRADES)
    hub.join(Client(wrapped, 1000, combined=True), "weth-usdc@trade", TRADES)
    hub.publish(TRADES, b'{"e":"trade"}')
    assert bare.read() == [{"e": "trade"}]
    assert wrapped.read() == [{"stream": "weth-usdc@trade", "data": {"e": "trade"}}]


def test_all_get_the_very_same_frame() -> None:
    hub, readers = Hub(), [Reader() for _ in range(3)]
    for reader in readers:
        hub.join(Client(reader, 1000), "wethusdc@trade", TRADES)
    hub.publish(TRADES, b"{}")
    assert len({id(reader.written[0]) for reader in readers}) == 1


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_a_frame_says_how_long_it_is(size: int) -> None:
    frame = text_frame(b"x" * size)
    head = {126: 4, 127: 10}.get(frame[1], 2)
    told = frame[1] if head == 2 else int.from_bytes(frame[2:head], "big")
    assert (told, frame[head:]) == (size, b"x" * size)


def test_a_slow_client_loses_its_place_not_our_memory() -> None:
    hub, reader = Hub(), Reader()
    hub.join(Client(reader, 30), "wethusdc@trade", TRADES)
    for number in range(4):
        hub.position = f"e1/{number}"
        hub.publish(TRADES, b"0123456789")
    assert len(reader.written) == 2
    assert reader.goodbye == (SLOW, "too slow: resume on /v1 from e1/1")
    assert hub.tally.slow_clients == 1


def diff(link: int, *bids: tuple[str, str]) -> bytes:
    event = {"e": "depthUpdate", "U": link, "u": link, "pu": link - 1, "b": bids, "a": []}
    return json.dumps(event, separators=(",", ":")).encode()


def test_a_slow_book_is_one_diff_of_the_last_words() -> None:
    hub, reader = Hub(), Reader()
    client = Client(reader, 300)
    hub.join(client, "s", Channel(TRADES.market, "depth"))
    for event in (
        diff(1, ("5", "1")),
        diff(2, ("5", "2")),
        diff(3, ("6", "1")),
        diff(4, ("5", "3")),
    ):
        hub.publish(Channel(TRADES.market, "depth"), event)
    hub.tend()
    assert [one["u"] for one in reader.read()] == [1, 2]
    hub.tend()
    (merged,) = reader.read()
    assert (merged["pu"], merged["U"], merged["u"]) == (2, 3, 4)
    assert dict(merged["b"]) == {"6": "1", "5": "3"}
    hub.publish(Channel(TRADES.market, "depth"), diff(5, ("5", "4")))
    assert [one["u"] for one in reader.read()] == [5]
    assert (hub.tally.coalesced, hub.tally.slow_clients, client.missed) == (1, 0, {})


def test_a_slow_state_is_its_newest_and_who_asked_is_told_so() -> None:
    hub, reader = Hub(), Reader()
    client = Client(reader, 100)
    client.retractions = True
    hub.join(client, "t", Channel(TRADES.market, "ticker"))
    for number in range(9):
        hub.publish(Channel(TRADES.market, "ticker"), b'{"n":%d,"x":"xxxxxxxxx"}' % number)
    reader.read()
    hub.tend()
    assert [one.get("n", one.get("e")) for one in reader.read()] == ["coalesced", 8]


def test_nothing_follows_the_farewell() -> None:
    hub, reader = Hub(), Reader()
    client = Client(reader, 100)
    hub.clients.add(client)
    client.offer(b"last words")
    hub.dismiss("rebuilt")
    client.offer(b"more")
    assert reader.written == [b"last words"]
    assert reader.goodbye == (RESTARTED, "rebuilt")


def test_nobody_listens_after_the_last_has_left() -> None:
    hub, client = Hub(), Client(Reader(), 100)
    hub.join(client, "wethusdc@trade", TRADES)
    assert hub.wants(TRADES)
    hub.leave(client, "wethusdc@trade", TRADES)
    assert not hub.wants(TRADES)
