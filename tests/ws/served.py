"""A real gateway over real servers, and the writer's part played by hand."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import redis.asyncio as redis
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import create_async_engine

from indexer.domain.units import Address, Hash
from indexer.store.tables import markets, tokens
from indexer.wire import BlockInfo, Message, Op, Stream, stream_key
from tidebook.serving import serve
from ws.app import Config, build, server_options

CHAIN_ID = 31337
WETH, USDC = (Address("0x" + digit * 40) for digit in "12")
MARKET = Address("0x" + "a1" * 20)
BLOCK = BlockInfo(156, Hash("0x" + "bb" * 32), 1_735_700_835)
TX = Hash("0x" + "cc" * 32)


class Chain:
    """What the writer and the relay would do, by hand: list markets, publish messages."""

    def __init__(self, database_url: str, redis_url: str) -> None:
        self._database_url = database_url
        self.redis: redis.Redis = redis.Redis.from_url(redis_url, protocol=2)
        self.epoch = "e1"
        self.seq = 0
        self._newest: dict[str, int] = {}

    async def list_market(self, market: Address = MARKET, symbol: str = "WETH-USDC") -> None:
        """A row in `markets`, and its tokens if they are not there."""
        url = self._database_url.replace("postgresql://", "postgresql+asyncpg://", 1)
        engine = create_async_engine(url)
        async with engine.begin() as connection:
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
        await engine.dispose()

    async def publish(
        self, stream: Stream, op: Op, data: dict[str, Any], market: Address = MARKET
    ) -> Message:
        """One message onto its stream, numbered and linked as the writer does."""
        self.seq += 1
        channel = f"{stream}:{market}"
        prev_seq = self._newest.get(channel, 0)
        self._newest[channel] = self.seq
        message = Message(
            stream, self.epoch, self.seq, prev_seq, op, market, BLOCK, TX, 5, "latest", data
        )
        fields: Any = {"m": msgspec.json.encode(message)}
        await self.redis.xadd(stream_key(CHAIN_ID, stream), fields, id=f"{self.seq}-0")
        return message

    async def trade(self, price: int, *, op: Op = "apply", market: Address = MARKET) -> Message:
        """A trade of one WETH."""
        data = {
            "block_number": 156,
            "log_index": self.seq,
            "timestamp": BLOCK.timestamp,
            "price": str(price),
            "quantity": str(10**18),
            "taker_side": "sell",
        }
        return await self.publish("trades", op, data, market)

    async def bid(self, price: int, quantity: int, *, op: Op = "apply") -> Message:
        """One bid level, absolute."""
        level = [str(price), str(quantity), 1]
        return await self.publish("depth", op, {"bids": [level], "asks": []})

    async def rebuild(self, epoch: str) -> None:
        """Begin another history in the same Redis, as the relay does."""
        await self.redis.flushdb()
        self.epoch, self.seq, self._newest = epoch, 0, {}


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
