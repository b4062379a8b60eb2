"""Subscriptions over real sockets: a writer, a relay, a reorg, and clients that resume."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
import redis.asyncio as redis
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from api.app import Config
from api.errors import LimitExceeded
from api.feed import Listener
from api.limits import SLOW
from indexer.bundle import bundles
from indexer.decode import decode
from indexer.domain.events import OrderPlaced
from indexer.domain.units import Hash
from indexer.mirror.fold import Mirror
from indexer.topics import SYSTEM
from indexer.wire import BlockInfo, Message, Numbered
from tests.api.served import serving
from tests.outbox import outbox
from tests.store.chains import Chain, load, play
from tests.store.test_relay import relaying

FORK, OLD, NEW = 150, 165, 180
POSITION = "epoch seq prevSeq operation block { number hash }"
DEPTH = "subscription($m: String!, $a: StreamPosition) { depth(market: $m, after: $a) {"
DEPTH += f" {POSITION} bids {{ rawPrice rawQuantity }} asks {{ rawPrice rawQuantity }} }} }}"
TRADES = "subscription($m: String!, $a: StreamPosition) { trades(market: $m, after: $a) {"
TRADES += f" {POSITION} trade {{ blockNumber logIndex price market {{ diverged }} }} }} }}"


REPORT = "orderId kind status filled tx logIndex traded { price quantity fee isMaker }"


class Client:
    """One connection: operations by number, what each hears in its own queue."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self._heard: dict[str, asyncio.Queue[dict[str, Any]]] = {}
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while True:
            message = json.loads(await self.socket.recv())
            if "id" in message:
                self._heard[message["id"]].put_nowait(message)

    async def ask(self, query: str, **variables: object) -> str:
        number = str(len(self._heard))
        self._heard[number] = asyncio.Queue()
        payload = {"query": query, "variables": variables}
        await self.say({"id": number, "type": "subscribe", "payload": payload})
        return number

    async def say(self, message: dict[str, Any]) -> None:
        await self.socket.send(json.dumps(message))

    async def hear(self, number: str) -> dict[str, Any]:
        async with asyncio.timeout(20):
            return await self._heard[number].get()

    async def event(self, number: str) -> dict[str, Any]:
        """The one root of the next event."""
        message = await self.hear(number)
        assert message["type"] == "next", message
        ((_, event),) = message["payload"]["data"].items()
        assert isinstance(event, dict)
        return event

    async def error(self, number: str) -> dict[str, Any]:
        """The extensions of what ends an operation."""
        message = await self.hear(number)
        payload = message["payload"]
        (error,) = payload if message["type"] == "error" else payload["errors"]
        extensions: dict[str, Any] = error["extensions"]
        return extensions


class talking:  # noqa: N801  # reads as a verb: async with talking(url) as client
    def __init__(self, url: str) -> None:
        address = url.replace("http", "ws", 1) + "/graphql"
        self._connecting = connect(address, subprotocols=[Subprotocol("graphql-transport-ws")])

    async def __aenter__(self) -> Client:
        socket = await self._connecting.__aenter__()
        await socket.send('{"type": "connection_init"}')
        assert json.loads(await socket.recv()) == {"type": "connection_ack"}
        self._client = Client(socket)
        return self._client

    async def __aexit__(self, *error: Any) -> None:
        await self._connecting.__aexit__(*error)
        await asyncio.wait({self._client.reading})
        if not self._client.reading.cancelled():
            self._client.reading.exception()


class Living:
    """A chain that has come to the head, and goes on when told."""

    def __init__(self, database_url: str, chain: Chain, mirror: Mirror) -> None:
        self.database_url = database_url
        self.chain = chain
        counts = [(len(b.orders.rows), m) for m, b in mirror.books.items()]
        self.market = str(max(counts)[1])

    async def reorg(self) -> None:
        """Blocks, then a rollback of them, then others."""
        chain = self.chain
        steps = [chain.to(FORK + 1, OLD), [chain.back_to(FORK)], chain.to(FORK + 1, NEW)]
        await play(self.database_url, chain, *steps)

    async def newest(self, channel: str) -> int:
        connection: Any = await asyncpg.connect(self.database_url)
        statement = "select seq from tidebook.channels where channel = $1"
        seq: int = await connection.fetchval(statement, channel)
        await connection.close()
        return seq


@pytest.fixture(scope="module")
def chain(recordings: Path) -> Chain:
    return Chain(recordings / "gtx_chaos.jsonl.gz", NEW)


@pytest.fixture
async def living(chain: Chain, database_url: str, redis_url: str) -> AsyncIterator[Living]:
    client: redis.Redis = redis.from_url(redis_url, protocol=2)
    await client.flushdb()
    await client.aclose()
    await play(database_url, chain, chain.to(0, FORK))
    async with relaying(database_url, redis_url):
        yield Living(database_url, chain, await load(database_url, chain))


@pytest.fixture
async def url(living: Living, redis_url: str) -> AsyncIterator[str]:
    chain_id = living.chain.deployment.chain_id
    async with serving(Config(living.database_url, chain_id, redis_url)) as url:
        yield url


async def events_to(client: Client, number: str, seq: int) -> list[dict[str, Any]]:
    """Events up to that of a seq."""
    found = [await client.event(number)]
    while found[-1]["seq"] < seq:
        found.append(await client.event(number))
    return found


def book_of(events: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """What a client holds that does what the events say."""
    sides: dict[str, dict[str, str]] = {"bids": {}, "asks": {}}
    for event in events:
        if event["operation"] == "snapshot":
            sides = {"bids": {}, "asks": {}}
        for side, held in sides.items():
            held |= {one["rawPrice"]: one["rawQuantity"] for one in event[side]}
    return {
        side: {price: quantity for price, quantity in held.items() if quantity != "0"}
        for side, held in sides.items()
    }


async def test_a_book_and_trades_follow_the_chain_through_a_reorg_and_a_resumption(
    living: Living, url: str
) -> None:
    market = living.market
    async with talking(url) as client:
        depth = await client.ask(DEPTH, m=market)
        first = await client.event(depth)
        assert first["operation"] == "snapshot"
        before = book_of([first])
        trades = await client.ask(TRADES, m=market, a={"epoch": first["epoch"], "seq": 0})
        await living.reorg()
        newest = await living.newest(f"depth:{market}")
        heard = [first, *await events_to(client, depth, newest)]
        told = await events_to(client, trades, await living.newest(f"trades:{market}"))
    kinds = [one["operation"] for one in heard]
    assert kinds.index("reorg_begin") < kinds.index("retract") < kinds.index("reorg_end")

    mirror = await load(living.database_url, living.chain)
    levels = next(b for a, b in mirror.books.items() if a == market).levels.rows.values()
    expected: dict[str, dict[str, str]] = {"bids": {}, "asks": {}}
    for level in levels:
        if level.quantity > 0:
            side = "bids" if level.side == "buy" else "asks"
            expected[side][str(level.price)] = str(level.quantity)
    assert book_of(heard) == expected != before

    held: dict[tuple[str, int], dict[str, Any]] = {}
    for one in told:
        if one["trade"] is not None:
            name = (one["block"]["hash"], one["trade"]["logIndex"])
            if one["operation"] == "apply":
                held[name] = one["trade"]
            else:
                assert held.pop(name) == one["trade"]
    async with talking(url) as client:
        query = "query($m: String!) { trades(market: $m, limit: 1000) { blockNumber logIndex } }"
        data = (await client.hear(await client.ask(query, m=market)))["payload"]["data"]
        assert [(one["blockNumber"], one["logIndex"]) for one in data["trades"]][::-1] == [
            (one["blockNumber"], one["logIndex"]) for one in held.values()
        ]

        middle = heard[len(heard) // 2]
        after = {"epoch": middle["epoch"], "seq": middle["seq"]}
        again = await events_to(client, await client.ask(DEPTH, m=market, a=after), newest)
    assert again == [one for one in heard if one["seq"] > middle["seq"]]


def busiest(chain: Chain) -> str:
    """The account with most orders in the branch that is taken back."""
    found = Counter(
        event.account
        for step in chain.advances[FORK + 1 : OLD + 1]
        for event in decode(step.block, step.logs)
        if isinstance(event, OrderPlaced)
    )
    return found.most_common(1)[0][0]


async def test_every_root_tells_of_the_same_reorg(living: Living, url: str) -> None:
    market, account = living.market, busiest(living.chain)
    roots = {
        f'candles(market: "{market}"': "openTime candle { open close trades }",
        f'tickers(market: "{market}"': "ticker { last volume bid ask closeTime }",
        f'executionReports(account: "{account}"': f"report {{ {REPORT} }}",
        f'orders(account: "{account}"': "orderId market { symbol } order { status filled }",
        f'balances(account: "{account}"': "balance { available token { symbol } }",
        "chain(": "depth ancestor { number } subject",
    }
    async with talking(url) as client:
        meta = await client.hear(await client.ask("{ _meta { epoch seq } }"))
        after = meta["payload"]["data"]["_meta"]
        numbers = {
            root: await client.ask(
                f"subscription($a: StreamPosition) {{ {root} after: $a)"
                f" {{ {POSITION} {fields} }} }}",
                a=after,
            )
            for root, fields in roots.items()
        }
        await living.reorg()
        for root, number in numbers.items():
            seen = []
            while "reorg_end" not in seen:
                event = await client.event(number)
                seen.append(event["operation"])
            if root == "chain(":
                assert (event["depth"], event["ancestor"]["number"]) == (OLD - FORK, FORK)
            else:
                assert seen.index("apply") < seen.index("reorg_begin") < seen.index("retract"), root


TICKER = "ticker { last open high low volume quoteVolume trades bid ask openTime closeTime }"


async def test_a_ticker_is_told_whole_and_again_behind_a_reorg(living: Living, url: str) -> None:
    subscription = f"subscription($m: String!) {{ tickers(market: $m) {{ {POSITION} {TICKER} }} }}"
    query = TICKER.replace("ticker", "query($m: String!) { tickers(market: $m)") + "}"
    async with talking(url) as client:

        async def asked() -> Any:
            (found,) = (await client.hear(await client.ask(query, m=living.market)))["payload"][
                "data"
            ]["tickers"]
            return found

        number = await client.ask(subscription, m=living.market)
        first = await client.event(number)
        assert first["operation"] == "snapshot"
        before = await asked()
        assert first["ticker"] == before
        await living.reorg()
        events = await events_to(client, number, await living.newest(f"klines:{living.market}"))
        assert {"apply", "retract"} <= {one["operation"] for one in events}
        last = [one["ticker"] for one in events if one["ticker"] is not None][-1]
        now = await asked()
        assert now["trades"] != before["trades"]
        assert last["trades"] == now["trades"]
        assert last["volume"] == now["volume"]


async def test_executions_taken_back_leave_what_the_account_did(living: Living, url: str) -> None:
    account = busiest(living.chain)
    subscription = "subscription($u: String!, $a: StreamPosition) { executionReports(account: $u,"
    subscription += f" after: $a) {{ {POSITION} report {{ {REPORT} }} }} }}"
    async with talking(url) as client:
        epoch = await client.hear(await client.ask("{ _meta { epoch } }"))
        after = {"epoch": epoch["payload"]["data"]["_meta"]["epoch"], "seq": 0}
        number = await client.ask(subscription, u=account, a=after)
        await living.reorg()
        newest = await living.newest(f"execution_reports:{account}")
        held: dict[tuple[Any, ...], Any] = {}
        for event in await events_to(client, number, newest):
            if (report := event["report"]) is None:
                continue
            name = (event["block"]["hash"], report["logIndex"], report["orderId"], report["kind"])
            if event["operation"] == "retract":
                assert held.pop(name) == report
            else:
                held[name] = report
        query = "query($u: String!) { fills(account: $u, limit: 1000) { price quantity fee } }"
        fills = (await client.hear(await client.ask(query, u=account)))["payload"]["data"]["fills"]
    told = [one["traded"] for one in held.values() if one["kind"] == "traded"]
    assert [(one["price"], one["quantity"], one["fee"]) for one in fills[: len(told)]] == [
        (one["price"], one["quantity"], one["fee"]) for one in reversed(told)
    ]
    assert told


async def test_what_cannot_be_told_is_a_typed_error(living: Living, url: str) -> None:
    connection: Any = await asyncpg.connect(living.database_url)
    saved = "insert into tidebook.links select * from tidebook.channels on conflict do nothing"
    await connection.execute(saved)
    depth = "select from unnest(channels) name where name like 'depth:%'"
    await connection.execute(f"delete from tidebook.outbox where exists ({depth})")
    epoch = await connection.fetchval("select epoch from tidebook.cursors")
    await connection.close()
    async with talking(url) as client:
        for query, code in (
            ('trades(market: "NO-SUCH") { seq }', "BAD_INPUT"),
            ('orders(account: "me") { seq }', "BAD_INPUT"),
            ('chain(after: {epoch: "another", seq: 1}) { seq }', "BEYOND_RETENTION"),
            (f'chain(after: {{epoch: "{epoch}", seq: 99999999}}) {{ seq }}', "BAD_INPUT"),
            (f'chain(after: {{epoch: "{epoch}", seq: -1}}) {{ seq }}', "BAD_INPUT"),
            (
                f'depth(market: "{living.market}", after: {{epoch: "{epoch}", seq: 0}}) {{ seq }}',
                "BEYOND_RETENTION",
            ),
            ("nothing { seq }", "BAD_INPUT"),
            ("chain { seq ", "BAD_INPUT"),
        ):
            error = await client.error(await client.ask(f"subscription {{ {query} }}"))
            assert error["code"] == code, query
            assert error["hint"]


async def test_a_client_that_does_not_keep_up_is_told_to_come_again(
    living: Living, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with talking(url) as client:
        depth = await client.ask(DEPTH, m=living.market)
        position = await client.event(depth)
        monkeypatch.setattr("api.limits.PATIENCE_S", 0)
        monkeypatch.setattr("api.feed.Listener.behind", True)
        await living.reorg()
        with pytest.raises(ConnectionClosed) as closed:
            async with asyncio.timeout(10):
                await client.reading
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == SLOW
    monkeypatch.undo()
    async with talking(url) as client:
        after = {"epoch": position["epoch"], "seq": position["seq"]}
        number = await client.ask(DEPTH, m=living.market, a=after)
        newest = await living.newest(f"depth:{living.market}")
        assert len(await events_to(client, number, newest)) > 2


async def test_who_takes_a_burst_in_time_is_not_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.limits.MAX_QUEUED_MESSAGES", 2)
    slow: list[bool] = []
    listener = Listener(SYSTEM, lambda: slow.append(True))
    at = BlockInfo(1, Hash("0x00"), 1)
    for seq in range(3):
        assert not listener.behind
        listener.offer(Message("system", "e", seq, 0, "system", None, at, None, None, "latest", {}))
    assert listener.behind
    assert (await listener.next()).seq == 0
    assert not listener.behind
    listener.give_up()
    with pytest.raises(LimitExceeded):
        await listener.next()
    assert slow == [True]


async def test_another_history_ends_a_subscription(living: Living, url: str) -> None:
    async with talking(url) as client:
        number = await client.ask(DEPTH, m=living.market)
        await client.event(number)
        connection: Any = await asyncpg.connect(living.database_url)
        await connection.execute("update tidebook.cursors set epoch = 'another'")
        for line in await outbox(connection):
            message = msgspec.json.decode(line.message) | {"epoch": "another"}
            one = Numbered(line.seq, line.channel, 0, "apply", msgspec.json.encode(message))
            (row,) = bundles([one])
            await connection.execute(
                "update tidebook.outbox set messages = decode($2, 'hex'), first_seq = seq"
                " where seq = $1",
                *(row.seq, row.messages[2:]),
            )
        await connection.execute("delete from tidebook.outbox where first_seq < seq")
        await connection.close()
        await living.reorg()
        while (message := await client.hear(number))["payload"].get("errors") is None:
            assert message["type"] == "next"
        assert message["payload"]["errors"][0]["extensions"]["code"] == "BEYOND_RETENTION"


async def _let_in(address: str) -> ClientConnection:
    """Connect as soon as the one before has been seen to leave."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await connect(address, subprotocols=[Subprotocol("graphql-transport-ws")])
            except InvalidStatus:
                await asyncio.sleep(0.01)


async def test_a_connection_has_limits(living: Living, url: str, redis_url: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("api.app.INIT_TIMEOUT_S", 0.05)
        patch.setattr("api.endpoint.MAX_SOCKETS", 1)
        patch.setattr("api.sockets.MAX_SUBSCRIPTIONS", 1)
        chain_id = living.chain.deployment.chain_id
        async with serving(Config(living.database_url, chain_id, redis_url)) as small:
            async with talking(small) as client:
                await client.ask("subscription { chain { seq } }")
                again = await client.ask("subscription { chain { seq } }")
                assert (await client.error(again))["code"] == "LIMIT_EXCEEDED"
                with pytest.raises(InvalidStatus):
                    await talking(small).__aenter__()
            address = small.replace("http", "ws", 1) + "/graphql"
            async with await _let_in(address) as socket:
                with pytest.raises(ConnectionClosed) as closed:
                    await socket.recv()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 4408
    async with (
        serving(Config(living.database_url, living.chain.deployment.chain_id)) as without,
        talking(without) as client,
    ):
        error = await client.error(await client.ask("subscription { chain { seq } }"))
        assert error["code"] == "UNAVAILABLE"
        answer = await client.hear(await client.ask("{ _meta { seq } }"))
        assert answer["payload"]["data"]["_meta"]["seq"] > 0
