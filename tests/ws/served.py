"""A real gateway over real servers, and the writer's part played by hand."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import redis.asyncio as redis
from sqlalchemy import delete, insert, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import create_async_engine

from indexer.bundle import bundles
from indexer.domain.block import Finality
from indexer.domain.units import Address, Hash
from indexer.store import relations as t
from indexer.store.relations import markets, tokens
from indexer.wire import BlockInfo, Message, Numbered, Op, Stream, relay_key, stream_key
from tidebook.serving import serve
from ws.app import Config, build, server_options

CHAIN_ID = 31337
WETH, USDC = (Address("0x" + digit * 40) for digit in "12")
MARKET = Address("0x" + "a1" * 20)
BLOCK = BlockInfo(156, Hash("0x" + "bb" * 32), 1_735_700_835)
TX = Hash("0x" + "cc" * 32)


class Chain:
    """What the writer and the relay would do, by hand: list markets, publish messages.

    `kept` chains have an outbox, a cursor and levels, too: what resuming and snapshots need.
    """

    def __init__(self, database_url: str, redis_url: str, *, kept: bool = False) -> None:
        self._database_url = database_url
        url = database_url.replace("postgresql://", "postgresql+asyncpg://", 1)
        self.engine = create_async_engine(url)
        self.kept = kept
        self.number = BLOCK.number
        self._unrelayed: list[Message] = []
        self.redis: redis.Redis = redis.Redis.from_url(redis_url, protocol=2)
        self.epoch = "e1"
        self.seq = 0
        self._newest: dict[str, int] = {}

    async def list_market(self, market: Address = MARKET, symbol: str = "WETH-USDC") -> None:
        """A row in `markets`, and its tokens if they are not there."""
        async with self.engine.begin() as connection:
            if symbol == "WETH-USDC":
                for token, name, decimals in ((WETH, "WETH", 18), (USDC, "USDC", 6)):
                    row = {"address": token, "symbol": name, "name": name, "decimals": decimals}
                    await connection.execute(insert(tokens).values(row))
            market_row = {
                "address": market,
                "symbol": symbol,
                "pool_id": TX,
                "base": WETH,
                "quote": USDC,
                "created_block": 1,
                "created_log_index": 0,
            }
            await connection.execute(insert(markets).values(market_row))
        if self.kept:
            await self.begin()

    async def begin(self) -> None:
        """The writer's first commit."""
        cursor = {"one": True, "chain_id": CHAIN_ID, "deployment": {}, "epoch": self.epoch}
        async with self.engine.begin() as connection:
            await connection.execute(insert(t.cursors).values(**cursor, seq=0, live=True))

    async def close(self) -> None:
        await self.redis.aclose()
        await self.engine.dispose()

    async def publish(
        self,
        stream: Stream,
        op: Op,
        data: dict[str, Any],
        market: Address | None = MARKET,
        *,
        subject: str | None = None,
        relayed: bool = True,
        finality: Finality = "latest",
        block: BlockInfo | None = None,
    ) -> Message:
        """One message onto its stream, numbered and linked as the writer does."""
        self.seq += 1
        subject = subject or data.get("account") or market
        channel = f"{stream}:{subject}" if subject and op != "promote" else stream
        prev_seq = self._newest.get(channel, 0)
        self._newest[channel] = self.seq
        block = block or BlockInfo(self.number, BLOCK.hash, BLOCK.timestamp)
        message = Message(
            stream, self.epoch, self.seq, prev_seq, op, market, block, TX, 5, finality, data
        )
        if self.kept:
            await self._keep(message, channel)
        self._unrelayed.append(message)
        if relayed:
            await self.relay_all()
        return message

    async def relay_all(self) -> None:
        """Everything the relay has not moved yet, at once."""
        async with self.redis.pipeline(transaction=True) as pipe:
            for message in self._unrelayed:
                fields: Any = {"m": msgspec.json.encode(message)}
                key = stream_key(CHAIN_ID, message.stream)
                pipe.xadd(key, fields, id=f"{message.seq}-0")
            place: Any = {"epoch": self.epoch, "seq": self.seq}
            pipe.hset(relay_key(CHAIN_ID), mapping=place)
            await pipe.execute()
        self._unrelayed.clear()

    async def _keep(self, message: Message, channel: str) -> None:
        """The rows of a message, in one transaction."""
        seq, number = message.seq, message.block.number
        (row,) = bundles([Numbered(seq, channel, number, message.op, msgspec.json.encode(message))])
        async with self.engine.begin() as connection:
            await connection.execute(insert(t.outbox).values(**msgspec.structs.asdict(row)))
            linked = upsert(t.links).values(channel=channel, seq=seq)
            await connection.execute(
                linked.on_conflict_do_update(index_elements=["channel"], set_={"seq": seq})
            )
            await connection.execute(
                update(t.cursors).values(seq=seq, epoch=self.epoch, block_number=self.number)
            )
            if message.stream == "depth" and message.op != "promote":
                for side, name in (("buy", "bids"), ("sell", "asks")):
                    for price, quantity, count in message.data[name]:
                        await self._set_level(connection, message, side, price, quantity, count)

    async def _set_level(
        self, connection: Any, message: Message, side: str, price: str, quantity: str, count: int
    ) -> None:
        level = {"market": message.market, "side": side, "price": int(price)}
        same = [t.levels.c[name] == value for name, value in level.items()]
        await connection.execute(delete(t.levels).where(*same))
        state = {"quantity": int(quantity), "order_count": count}
        link = {"head": 0, "tail": 0, "count": 0, "volume": 0, "broken": False, "in_tree": True}
        at = {"updated_block": message.block.number, "updated_log_index": 0}
        await connection.execute(insert(t.levels).values(**level, **state, **link, **at))
        change = {**level, **state, "block_number": message.block.number, "log_index": 0}
        await connection.execute(
            upsert(t.level_changes)
            .values(**change)
            .on_conflict_do_update(
                index_elements=["market", "side", "price", "block_number"], set_=state
            )
        )

    async def trade(
        self, price: int, *, op: Op = "apply", market: Address = MARKET, relayed: bool = True
    ) -> Message:
        """A trade of one WETH."""
        data = {
            "block_number": 156,
            "log_index": self.seq,
            "timestamp": BLOCK.timestamp,
            "price": str(price),
            "quantity": str(10**18),
            "taker_side": "sell",
            "maker": MARKET,
            "taker": MARKET,
        }
        return await self.publish("trades", op, data, market, relayed=relayed)

    async def bid(
        self, price: int, quantity: int, *, op: Op = "apply", relayed: bool = True
    ) -> Message:
        """One bid level, absolute."""
        level = [str(price), str(quantity), 1]
        return await self.publish("depth", op, {"bids": [level], "asks": []}, relayed=relayed)

    async def rebuild(self, epoch: str) -> None:
        """Begin another history in the same Redis, as the relay does."""
        await self.redis.flushdb()
        self.epoch, self.seq, self._newest = epoch, 0, {}
        if self.kept:
            async with self.engine.begin() as connection:
                for table in (t.outbox, t.links, t.levels, t.level_changes):
                    await connection.execute(delete(table))
                await connection.execute(update(t.cursors).values(seq=0, epoch=epoch))


async def run(config: Config, at: int, started: Callable[[int], None]) -> None:
    """What `tidebook ws` does."""
    await serve(build(config), "127.0.0.1", at, started, **server_options(config.limits))


@asynccontextmanager
async def serving(config: Config, at: int = 0) -> AsyncIterator[str]:
    """A gateway as its process runs it, for as long as a test needs it."""
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(run(config, at, port.set_result))
    waiting: set[asyncio.Future[Any]] = {task, port}
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    try:
        yield f"127.0.0.1:{port.result()}"
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()
