"""Whoever asks while the chain changes its mind is told of one branch or the other, never of both.

Two branches fork off one block and take turns: one goes on as recorded, the other's blocks are
empty. Every answer must be the state of the block whose hash it names.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
import redis.asyncio as redis
from websockets.asyncio.client import connect

from api.app import Config
from indexer.decode import decode
from indexer.domain.block import Block
from indexer.domain.step import Advance, Step
from indexer.domain.units import Address, Hash, to_decimal
from indexer.mirror.fold import Mirror
from tests.api.served import serving
from tests.store.chains import Chain, play
from tests.store.test_relay import relaying
from tests.ws import served as ws_served
from ws.app import Config as WsConfig

FORK, LENGTH, ROUNDS = 150, 8, 6
QUERY = """query($m: String!) {
  _meta { block { hash } }
  depth(market: $m, limit: 1000) {
    block { hash } bids { rawPrice rawQuantity } asks { rawPrice rawQuantity } }
  trades(limit: 5) { blockNumber logIndex }
  orders(market: $m, limit: 30) { orderId status rawFilled }
  blocks(limit: 1) { hash }
}"""


class Fork:
    """A chain with two futures, and what is true after each of their blocks."""

    def __init__(self, file: Path) -> None:
        self.chain = Chain(file, FORK + LENGTH)
        self.mirror = Mirror(self.chain.deployment)
        self.states: dict[str, dict[str, Any]] = {}
        self._trades: list[tuple[int, int]] = []
        for step in self.chain.advances:
            if step.block.number > FORK and not self.states:
                self._fork()
            events = decode(step.block, step.logs)
            applied = self.mirror.apply(step.block, events, step.tokens, final=True)
            self._trades += [(one.block_number, one.log_index) for one in applied.trades]
            if self.states:
                self.states[step.block.hash] = self._state()

    def _fork(self) -> None:
        """The other future: empty blocks, after each of which all is as at the fork."""
        counts = [(len(book.orders.rows), market) for market, book in self.mirror.books.items()]
        self.market: Address = max(counts)[1]
        self.empty: list[Step] = []
        parent = self.chain.advances[FORK].block
        self.states[parent.hash] = self._state()
        for number in range(FORK + 1, FORK + LENGTH + 1):
            found = Hash(f"0x{number:064x}")
            parent = Block(number, found, parent.hash, parent.timestamp + 1)
            self.empty.append(Advance(parent, (), (), "latest"))
            self.states[found] = self._state()

    def _state(self) -> dict[str, Any]:
        book = next(b for a, b in self.mirror.books.items() if a == self.market)
        sides = {}
        for side, key, sign in (("buy", "bids", -1), ("sell", "asks", 1)):
            held = [one for one in book.levels.rows.values() if one.side == side and one.quantity]
            held.sort(key=lambda one: sign * one.price)
            sides[key] = [(one.price, one.quantity) for one in held]
        newest = sorted(
            book.orders.rows.values(), key=lambda o: (-o.placed_block, -o.placed_log_index)
        )
        orders = [(one.order_id, one.status, str(one.filled)) for one in newest[:30]]
        return {**sides, "trades": self._trades[:-6:-1], "orders": orders}

    def turns(self) -> Iterator[Sequence[Step]]:
        """One future after the other, block by block, and back to the fork in between."""
        recorded = self.chain.to(FORK + 1, FORK + LENGTH)
        for _ in range(ROUNDS):
            for future in (recorded, self.empty):
                yield from ([step] for step in future)
                yield [self.chain.back_to(FORK)]
        yield recorded


@pytest.fixture(scope="module")
def fork(recordings: Path) -> Fork:
    return Fork(recordings / "gtx_chaos.jsonl.gz")


@pytest.fixture
async def urls(fork: Fork, database_url: str, redis_url: str) -> AsyncIterator[tuple[str, str]]:
    """The API's and the live feed's, over a chain that stands at the fork."""
    client: redis.Redis = redis.from_url(redis_url, protocol=2)
    await client.flushdb()
    await client.aclose()
    await play(database_url, fork.chain, fork.chain.to(0, FORK))
    chain_id = fork.chain.deployment.chain_id
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(relaying(database_url, redis_url))
        api = await stack.enter_async_context(serving(Config(database_url, chain_id)))
        feed = WsConfig(database_url, redis_url, chain_id)
        yield api, await stack.enter_async_context(ws_served.serving(feed))


def numbers(levels: list[dict[str, str]]) -> list[tuple[int, int]]:
    return [(int(one["rawPrice"]), int(one["rawQuantity"])) for one in levels]


async def ask_graphql(http: aiohttp.ClientSession, url: str, fork: Fork) -> str:
    """Ask several roots at once; the block that all of them are of."""
    body = {"query": QUERY, "variables": {"m": fork.market}}
    async with http.post(f"{url}/graphql", json=body) as response:
        data = (await response.json())["data"]
    (newest,) = data["blocks"]
    block: str = data["_meta"]["block"]["hash"]
    assert block == data["depth"]["block"]["hash"] == newest["hash"]
    assert {
        "bids": numbers(data["depth"]["bids"]),
        "asks": numbers(data["depth"]["asks"]),
        "trades": [(one["blockNumber"], one["logIndex"]) for one in data["trades"]],
        "orders": [(one["orderId"], one["status"], one["rawFilled"]) for one in data["orders"]],
    } == fork.states[block], block
    return block


async def ask_rest(http: aiohttp.ClientSession, url: str, fork: Fork) -> str:
    query = {"symbol": fork.market, "limit": "5000"}
    async with http.get(f"{url}/api/v3/depth", params=query) as response:
        block = response.headers["X-Tidebook-Block-Hash"]
        book = await response.json()
    tokens, markets = fork.mirror.tokens.rows, fork.mirror.markets.rows
    market = next(one for one in markets.values() if one.address == fork.market)
    base, quote = tokens[market.base].decimals, tokens[market.quote].decimals
    for side in ("bids", "asks"):
        assert book[side] == [
            [to_decimal(price, quote), to_decimal(quantity, base)]
            for price, quantity in fork.states[block][side]
        ], block
    return block


Ask = Callable[[aiohttp.ClientSession, str, Fork], Awaitable[str]]


async def test_no_answer_mixes_branches(
    fork: Fork, urls: tuple[str, str], database_url: str
) -> None:
    seen: set[str] = set()
    told = asyncio.Event()
    empty: set[str] = {step.block.hash for step in fork.empty if isinstance(step, Advance)}
    recorded = set(fork.states) - empty - {fork.chain.advances[FORK].block.hash}

    async def meet(blocks: set[str]) -> None:
        while not seen & blocks:
            told.clear()
            await told.wait()

    async def write() -> None:
        """One branch and then the other stays until somebody has been told of it."""
        await play(database_url, fork.chain, *([step] for step in fork.empty))
        await meet(empty)
        await play(database_url, fork.chain, [fork.chain.back_to(FORK)], *fork.turns())
        await meet(recorded)

    async def keep_asking(http: aiohttp.ClientSession, ask: Ask) -> None:
        while not writing.done():
            seen.add(await ask(http, urls[0], fork))
            told.set()

    writing = asyncio.create_task(write())
    async with aiohttp.ClientSession() as http:
        await asyncio.gather(*(keep_asking(http, ask) for ask in (ask_graphql, ask_rest) * 2))
    await writing


async def test_a_book_over_rest_goes_on_over_the_websocket(
    fork: Fork, urls: tuple[str, str], database_url: str
) -> None:
    """The documented procedure, from whatever moment a book was asked for."""
    api, feed = urls
    diffs: list[dict[str, Any]] = []
    snapshots: list[dict[str, Any]] = []

    async def read_depth(http: aiohttp.ClientSession) -> dict[str, Any]:
        query = {"symbol": fork.market, "limit": "5000"}
        async with http.get(f"{api}/api/v3/depth", params=query) as response:
            book: dict[str, Any] = await response.json()
            return book

    async with (
        aiohttp.ClientSession() as http,
        connect(f"ws://{feed}/ws/{fork.market}@depth") as socket,
        asyncio.timeout(30),
    ):
        writing = asyncio.create_task(play(database_url, fork.chain, *fork.turns()))
        while not writing.done():
            snapshots.append(await read_depth(http))
        await writing
        newest = await depth_seq(database_url, fork.market)
        while not diffs or diffs[-1]["u"] < newest:
            diffs.append(json.loads(await socket.recv()))
        end = await read_depth(http)
    assert len({one["lastUpdateId"] for one in snapshots}) > 3
    for book in snapshots:
        last = book["lastUpdateId"]
        kept = [one for one in diffs if one["u"] > last]
        assert not kept or kept[0]["U"] <= last + 1 <= kept[0]["u"]
        sides = {side: dict(book[side]) for side in ("bids", "asks")}
        for diff in kept:
            sides["bids"] |= dict(diff["b"])
            sides["asks"] |= dict(diff["a"])
        for side, held in sides.items():
            left = {price: quantity for price, quantity in held.items() if Decimal(quantity)}
            assert left == dict(end[side])


async def depth_seq(database_url: str, market: str) -> int:
    """The newest message about a market's book."""
    connection: Any = await asyncpg.connect(database_url)
    statement = "select seq from tidebook.channels where channel = $1"
    seq: int = await connection.fetchval(statement, f"depth:{market}")
    await connection.close()
    return seq
