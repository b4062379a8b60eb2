"""`/v1` on a real Valkey, a real Postgres and real sockets, most of it through our own client."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import asdict
from sqlalchemy import insert, text
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from indexer.domain.block import Block
from indexer.domain.log import Log
from indexer.domain.logs import pack
from indexer.domain.units import Address, Hash
from indexer.store import log_rows
from indexer.store import relations as t
from indexer.wire import BlockInfo, relay_key, stream_key
from tests.ws.served import BLOCK, CHAIN_ID, MARKET, TX, Chain, serving
from ws.app import Config
from ws.client import Refused, VerifiedBook, follow
from ws.limits import SLOW, Limits

QUICK = Limits(heartbeat_s=0.1)
ONE = 10**18


@pytest.fixture
def quick(kept: Chain, database_url: str, redis_url: str) -> Config:
    return Config(database_url, redis_url, CHAIN_ID, QUICK)


@pytest.fixture
async def gateway(quick: Config) -> AsyncIterator[str]:
    async with serving(quick) as address:
        yield address


async def hear(client: ClientConnection, *kinds: str) -> Any:
    """The next frame of these types; heartbeats do not count unless asked for."""
    async with asyncio.timeout(5):
        while True:
            frame = json.loads(await client.recv())
            if frame["type"] in kinds or (not kinds and frame["type"] != "heartbeat"):
                return frame


async def ask(client: ClientConnection, kind: str, **data: Any) -> None:
    if "from_" in data:
        data["from"] = data.pop("from_")
    await client.send(json.dumps({"id": 1, "type": kind, "data": data}))


async def subscribed(client: ClientConnection, channel: str, **more: Any) -> Any:
    await ask(client, "subscribe", channel=channel, **more)
    frame = await hear(client, "subscribed", "error")
    assert frame["type"] == "subscribed", frame
    return frame["data"]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def following(gateway: str, book: VerifiedBook) -> AsyncIterator[None]:
    task = asyncio.create_task(follow(f"ws://{gateway}/v1", book))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_a_client_keeps_a_book_it_can_vouch_for(gateway: str, kept: Chain) -> None:
    """A golden transcript: every word of a subscription, a change and a reorg."""
    await kept.bid(1_999_000_000, 5 * ONE)
    async with connect(f"ws://{gateway}/v1") as client:
        assert (await hear(client))["type"] == "hello"
        begin = await subscribed(client, "depth:wethusdc")
        while begin["seq"] < 1:
            begin = (await hear(client, "event"))["data"]
        await kept.bid(1_998_000_000, ONE)
        frame = await hear(client, "event")
        checksum = frame["data"].pop("checksum")
        assert isinstance(checksum, int)
        assert (frame["id"], frame["type"]) == (None, "event")
        assert frame["data"] == {
            "channel": "depth:WETH-USDC",
            "stream": "depth",
            "epoch": "e1",
            "seq": 2,
            "prev_seq": 1,
            "op": "apply",
            "market": MARKET,
            "block": {"number": 156, "hash": BLOCK.hash, "timestamp": BLOCK.timestamp},
            "tx": TX,
            "log_index": 5,
            "finality": "latest",
            "data": {"bids": [["1998000000", str(ONE), 1]], "asks": []},
        }
        about = {"ancestor": {"number": 155, "hash": "0x"}, "depth": 1}
        await kept.publish("system", "system", {"event": "reorg.begin", **about}, None)
        await kept.bid(1_998_000_000, 0, op="retract")
        await kept.publish("system", "system", {"event": "reorg.end", **about}, None)
        await kept.publish("depth", "promote", {"finality": "safe"}, None, finality="safe")
        told = [(await hear(client, "event"))["data"] for _ in range(4)]
        assert [(one["op"], one["prev_seq"], one["seq"]) for one in told] == [
            ("system", None, 3),
            ("retract", 2, 4),
            ("system", None, 5),
            ("promote", None, 6),
        ]
        assert told[0]["data"]["event"] == "reorg.begin"
        assert told[3]["finality"] == "safe"
        beat = await hear(client, "heartbeat")
        while beat["data"]["channels"] != {"depth:WETH-USDC": 4}:
            beat = await hear(client, "heartbeat")
        assert beat["data"]["head"] == 156


async def test_the_snapshot_is_in_band_and_scaled(quick: Config, kept: Chain) -> None:
    await kept.bid(1_999_000_000, 5 * ONE)
    async with serving(quick) as gateway, connect(f"ws://{gateway}/v1") as client:
        begin = await subscribed(client, "depth:WETH-USDC")
        assert (begin["recovered"], begin["reason"], begin["seq"]) == (False, "fresh", 1)
        assert begin["snapshot"] == {"bids": [["1999000000", str(5 * ONE), 1]], "asks": []}
        scale = begin["market"]
        assert (scale["price_decimals"], scale["quantity_decimals"]) == (6, 18)
        for channel in ("trades:WETH-USDC", "klines:WETH-USDC", f"orders:{MARKET}"):
            assert not (await subscribed(client, channel))["recovered"]
        for channel in (f"balances:{MARKET}", f"execution_reports:{MARKET}", "system"):
            assert not (await subscribed(client, channel))["recovered"]


async def test_the_client_resumes_at_another_gateway(quick: Config, kept: Chain) -> None:
    """Three gateways: what went by while it was away is told by whichever it finds."""
    book = VerifiedBook("WETH-USDC")
    async with serving(quick) as first, serving(quick) as second, serving(quick) as third:
        for gateway in (first, second, third):
            async with following(gateway, book):
                await until(lambda: book.synced)
                await kept.bid(2_000_000_000 + kept.seq, ONE)
                await until(lambda: (book.position or {}).get("seq") == kept.seq)
            book.synced = False
            await kept.bid(2_000_000_000 + kept.seq, ONE)
    assert len(book.sides["bids"]) == 5
    assert book.recoveries == 2
    assert book.checked >= 3


async def test_a_long_past_comes_from_the_outbox_when_redis_has_lost_it(
    gateway: str, kept: Chain
) -> None:
    for price in range(1, 6):
        await kept.bid(price, ONE)
    await kept.redis.xtrim(f"tidebook:{CHAIN_ID}:depth", maxlen=1, approximate=False)
    async with connect(f"ws://{gateway}/v1") as client:
        begin = await subscribed(client, "depth:WETH-USDC", from_={"epoch": "e1", "seq": 1})
        assert (begin["recovered"], begin["seq"]) == (True, 1)
        replayed = [(await hear(client, "event"))["data"]["seq"] for _ in range(4)]
        await kept.bid(9, ONE)
        live = (await hear(client, "event"))["data"]
    assert replayed == [2, 3, 4, 5]
    assert (live["prev_seq"], live["seq"]) == (5, 6)


async def test_a_redis_that_is_being_filled_again_does_not_pass_for_whole(
    gateway: str, kept: Chain
) -> None:
    """It was emptied and holds the beginning: our tail has read beyond, so neither would tell."""
    for price in range(1, 6):
        await kept.bid(price, ONE)
    async with connect(f"ws://{gateway}/v1") as client:
        begin = await subscribed(client, "depth:WETH-USDC")
        while begin["seq"] < 5:
            begin = (await hear(client, "event"))["data"]
        for seq in (4, 5):
            await kept.redis.xdel(stream_key(CHAIN_ID, "depth"), f"{seq}-0")
        await kept.redis.hset(relay_key(CHAIN_ID), "seq", "3")
        await ask(client, "unsubscribe", channel="depth:WETH-USDC")
        await subscribed(client, "depth:WETH-USDC", from_={"epoch": "e1", "seq": 1})
        replayed = [(await hear(client, "event"))["data"]["seq"] for _ in range(4)]
    assert replayed == [2, 3, 4, 5]


async def test_what_is_gone_from_both_is_answered_with_a_snapshot(
    gateway: str, kept: Chain
) -> None:
    for price in range(1, 6):
        await kept.bid(price, ONE)
    await kept.redis.xtrim(f"tidebook:{CHAIN_ID}:depth", maxlen=1, approximate=False)
    async with kept.engine.begin() as connection:
        await connection.execute(t.outbox.delete().where(t.outbox.c.seq < 4))
    async with connect(f"ws://{gateway}/v1") as client:
        for position, reason in (
            ({"epoch": "e1", "seq": 1}, "not_retained"),
            ({"epoch": "e0", "seq": 1}, "epoch_changed"),
            ({"epoch": "e1", "seq": 99}, "ahead"),
        ):
            begin = await subscribed(client, "depth:WETH-USDC", from_=position)
            assert (begin["recovered"], begin["reason"]) == (False, reason)
            assert len(begin["snapshot"]["bids"]) == 5


async def test_a_replay_from_a_block_begins_with_the_book_before_it(
    gateway: str, kept: Chain
) -> None:
    for number, price in ((10, 5), (11, 6), (12, 7)):
        kept.number = number
        await kept.bid(price, ONE)
    async with connect(f"ws://{gateway}/v1") as client:
        begin = await subscribed(client, "depth:WETH-USDC", fromBlock=11)
        assert (begin["recovered"], begin["snapshot"]["bids"]) == (True, [["5", str(ONE), 1]])
        replayed = [(await hear(client, "event"))["data"] for _ in range(2)]
        kept.number = 13
        await kept.bid(8, ONE)
        live = (await hear(client, "event"))["data"]
    assert [one["block"]["number"] for one in [*replayed, live]] == [11, 12, 13]
    assert [one["prev_seq"] for one in [*replayed, live]] == [1, 2, 3]
    book = VerifiedBook("WETH-USDC")
    for frame in ({"type": "subscribed", "data": begin}, *map(event, replayed), event(live)):
        book.hear(frame)
    assert book.checked == 4


def event(data: Any) -> dict[str, Any]:
    return {"type": "event", "data": data}


async def test_nothing_is_lost_between_the_past_and_the_present(gateway: str, kept: Chain) -> None:
    """Subscribers come at any moment of a busy feed: each hears every link from its position on."""
    await kept.trade(1)

    async def listen() -> list[int]:
        async with connect(f"ws://{gateway}/v1") as client:
            await subscribed(client, "trades:WETH-USDC", from_={"epoch": "e1", "seq": 1})
            return [(await hear(client, "event"))["data"]["seq"] for _ in range(20)]

    listeners = []
    for number in range(20):
        if number % 4 == 0:
            listeners.append(asyncio.create_task(listen()))
        await kept.trade(1)
    for listener in listeners:
        assert await listener == list(range(2, 22))


async def test_conflation_says_less_and_means_the_same(gateway: str, kept: Chain) -> None:
    async with connect(f"ws://{gateway}/v1") as client:
        book = VerifiedBook("WETH-USDC")
        begin = await subscribed(client, "depth:WETH-USDC", conflate="100ms")
        book.hear({"type": "subscribed", "data": begin})
        for price in range(1, 30):
            await kept.bid(price, ONE, relayed=False)
        await kept.relay_all()
        heard = 0
        while (book.position or {}).get("seq") != kept.seq:
            book.hear(await hear(client, "event"))
            heard += 1
    assert heard < 10
    assert len(book.sides["bids"]) == 29


async def test_blocks_of_one_batch_are_told_one_by_one(gateway: str, kept: Chain) -> None:
    """Each with the checksum of the book behind it, not behind the batch."""
    async with connect(f"ws://{gateway}/v1") as client:
        book = VerifiedBook("WETH-USDC")
        begin = await subscribed(client, "depth:WETH-USDC", conflate="block")
        book.hear({"type": "subscribed", "data": begin})
        for number in (1, 2, 3):
            block = BlockInfo(number, Hash(f"0x{number:064x}"), BLOCK.timestamp + number)
            for price in (number, number + 10):
                level = {"bids": [[str(price), str(ONE), 1]], "asks": []}
                await kept.publish("depth", "apply", level, relayed=False, block=block)
        await kept.relay_all()
        for number in (1, 2, 3):
            frame = await hear(client, "event")
            assert frame["data"]["block"]["number"] == number
            book.hear(frame)


async def test_a_client_is_told_why_it_gets_no_book(gateway: str) -> None:
    book, heard = VerifiedBook("WETH-USDC"), asyncio.Queue[str]()
    async with asyncio.timeout(5):
        with pytest.raises(Refused, match="there is no channel depth:NOPE"):
            await follow(f"ws://{gateway}/v1", VerifiedBook("NOPE"))
        with pytest.raises(Refused, match="isn't a valid URI"):
            await follow(f"http://{gateway}/v1", book)
        elsewhere = asyncio.create_task(follow(f"ws://{gateway}/v2", book, say=heard.put_nowait))
        said = await heard.get()
        assert "HTTP 403; trying again" in said, "a gateway may be at its limits only for now"
        elsewhere.cancel()


async def test_another_epoch_is_told_with_fresh_snapshots(gateway: str, kept: Chain) -> None:
    book = VerifiedBook("WETH-USDC")
    async with following(gateway, book):
        await until(lambda: book.synced)
        await kept.bid(7, ONE)
        await until(lambda: len(book.sides["bids"]) == 1)
        await kept.rebuild("e2")
        await kept.bid(8, ONE)
        await until(lambda: list(book.sides["bids"]) == [8])
        assert book.position == {"epoch": "e2", "seq": 1}


async def test_a_tx_is_waited_for_up_to_finality(gateway: str, kept: Chain) -> None:
    await kept.trade(1)
    async with connect(f"ws://{gateway}/v1") as client:
        await ask(client, "waitFor", tx=TX)
        assert (await hear(client, "waiting"))["data"]["tx"] == TX
        block = {"hash": BLOCK.hash, "number": 156, "parent_hash": TX, "timestamp": 1}
        log = Log(Address(MARKET), [], "0x", BLOCK.hash, "0x9c", Hash(TX), "0x0")
        logs = pack(Block(156, Hash(BLOCK.hash), Hash(TX), 1), [log])
        async with kept.engine.begin() as connection:
            row = {**block, "finality": "latest", "canonical": True}
            await connection.execute(insert(t.blocks).values(**row))
            await connection.execute(insert(t.logs).values(**asdict(log_rows.row(logs))))
        await kept.trade(2)
        seen = [(await hear(client, "resolved"))["data"]]
        for column in ("safe_number", "finalized_number"):
            async with kept.engine.begin() as connection:
                await connection.execute(t.cursors.update().values(**{column: 156}))
            seen.append((await hear(client, "resolved"))["data"])
    assert [one["state"] for one in seen] == ["latest", "safe", "finalized"]
    assert {one["block"] for one in seen} == {156}


@asynccontextmanager
async def narrow(gateway: str) -> AsyncIterator[ClientConnection]:
    """A client that takes next to nothing until it is read."""
    host, port = gateway.split(":")
    pipe = socket.socket()
    pipe.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    pipe.connect((host, int(port)))
    async with connect(f"ws://{gateway}/v1", sock=pipe, max_queue=1, max_size=None) as client:
        yield client


async def test_a_slow_book_is_told_anew_and_its_reader_stays(quick: Config, kept: Chain) -> None:
    limits = replace(QUICK, queue_bytes=400_000, heartbeat_s=30.0)
    async with serving(replace(quick, limits=limits)) as gateway, narrow(gateway) as slow:
        book = VerifiedBook("WETH-USDC")
        begin = await subscribed(slow, "depth:WETH-USDC")
        book.hear({"type": "subscribed", "data": begin})
        kept.kept = False
        bids = [[str(10**9 + i), str(ONE), 1] for i in range(500)]
        for _ in range(400):
            await kept.publish("depth", "apply", {"bids": bids, "asks": []})
        await asyncio.sleep(0.3)
        reasons = []
        while (book.position or {}).get("seq") != kept.seq:
            frame = await hear(slow, "event", "subscribed")
            reasons.append(frame["data"].get("reason"))
            book.hear(frame)
        assert "slow" in reasons
        assert len(reasons) < 400


async def test_a_slow_reader_of_trades_is_told_where_to_resume(quick: Config, kept: Chain) -> None:
    limits = replace(QUICK, queue_bytes=20_000)
    async with serving(replace(quick, limits=limits)) as gateway, narrow(gateway) as slow:
        await subscribed(slow, "trades:WETH-USDC")
        kept.kept = False
        for _ in range(400):
            await kept.publish(
                "trades", "apply", {"price": "1" * 10_000, "maker": MARKET, "taker": MARKET}
            )
        seen: list[int] = [0]

        async def hear_out() -> None:
            while True:
                frame = await hear(slow, "event", "notice")
                if frame["type"] == "event":
                    seen.append(frame["data"]["seq"])

        with pytest.raises(ConnectionClosed) as closed:
            await hear_out()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (
            SLOW,
            f"resume from e1/{seen[-1]}",
        )


async def test_stopping_says_when_to_come_again(quick: Config) -> None:
    async with serving(quick) as gateway:
        client = await connect(f"ws://{gateway}/v1")
        await hear(client, "hello")
    notice = (await hear(client, "notice"))["data"]
    assert notice["reason"] == "shutdown"
    assert 0 <= notice["reconnect_after_ms"] < 5_000
    await client.wait_closed()


async def test_a_wrong_checksum_is_noticed() -> None:
    """The proof that the client's check can fail."""
    from ws.client import Lost

    book = VerifiedBook("WETH-USDC")
    told = {"channel": book.channel, "recovered": False, "epoch": "e1", "seq": 1}
    levels = {"bids": [["5", "1", 1]], "asks": []}
    with pytest.raises(Lost, match="checksum"):
        book.hear({"type": "subscribed", "data": {**told, "snapshot": levels, "checksum": 1}})
    assert book.request()["data"] == {"channel": "depth:WETH-USDC"}


@pytest.mark.parametrize(
    "place",
    [{"from_": {"epoch": "e1", "seq": -(2**70)}}, {"fromBlock": 2**70}, {"fromBlock": -1}],
)
async def test_a_place_that_cannot_be_is_the_clients_mistake(
    kept: Chain, gateway: str, place: dict[str, Any]
) -> None:
    async with connect(f"ws://{gateway}/v1") as client:
        await ask(client, "subscribe", channel="trades:WETH-USDC", **place)
        assert (await hear(client, "error"))["data"]["code"] == "invalid"


async def test_what_ails_the_database_is_not_told_to_strangers(kept: Chain, gateway: str) -> None:
    async with kept.engine.begin() as connection:
        await connection.execute(text("alter table tidebook.outbox rename to away"))
    async with connect(f"ws://{gateway}/v1") as client:
        begun = await subscribed(client, "depth:WETH-USDC", fromBlock=1)
        assert begun["reason"] == "unavailable"
        await ask(client, "subscribe", channel="trades:WETH-USDC", fromBlock=1)
        told = (await hear(client, "error"))["data"]
        assert told == {"code": "unavailable", "message": "the past cannot be read now"}
