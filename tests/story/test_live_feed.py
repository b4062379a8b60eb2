"""The story of the live feed: nobody who listens is told a lie, whatever happens meanwhile."""

import asyncio
import random
import re
from collections import Counter
from decimal import Decimal
from typing import Any

import aiohttp
from binance import (  # type: ignore[import-untyped]
    AsyncClient,
    BinanceSocketManager,
    DepthCacheManager,
)

from indexer.domain.units import to_decimal
from tests.story.market import Market
from tests.ws import chaos

CLIENTS, SECONDS = 36, 4.0


async def test_every_history_is_whole_and_ends_in_what_is_stored(market: Market) -> None:
    """Both dialects, through reorgs and the ends of gateways and Redis.

    Beside our checkers python-binance's depth cache, unmodified, keeps its own book.
    """
    seed = random.randrange(2**32)
    print("seed", seed)  # noqa: T201
    said = await market.start("--block-time", "0.5", "--rate", "15")
    keeping, cache = await keep_a_book(market)
    day = await chaos.run(market, said, CLIENTS, SECONDS, seed)
    print(day.report())  # noqa: T201
    counts = sum((one.counts() for one in day.natives), Counter[str]())
    for what in ("checksums", "retracts", "recovered", "heartbeats"):
        assert counts[what], what
    assert set(await hops(market)) == {"mined", "committed", "relayed", "read", "told"}
    (stored,) = [one for one in day.export["markets"] if one["symbol"] == "WETH-USDC"]
    assert not keeping.done(), keeping
    keeping.cancel()
    assert book_of(cache) == {
        side: [(decimal(price, 6), decimal(quantity, 18)) for price, quantity, _ in stored[side]]
        for side in ("bids", "asks")
    }


async def keep_a_book(market: Market) -> tuple["asyncio.Task[None]", DepthCacheManager]:
    """python-binance's depth cache of WETHUSDC, its base URLs set to ours."""

    class Client(AsyncClient):  # type: ignore[misc]
        API_URL = f"http://127.0.0.1:{market.api_port}/api"

    class Sockets(BinanceSocketManager):  # type: ignore[misc]
        STREAM_URL = f"ws://127.0.0.1:{market.ws_port}/"

    client = await Client.create()
    options = {"bm": Sockets(client), "limit": 5000, "conv_type": Decimal, "ws_interval": 100}
    manager = DepthCacheManager(client, "WETHUSDC", **options)

    async def keep() -> None:
        try:
            async with manager:
                while True:
                    await manager.recv()
        finally:
            await client.close_connection()

    return asyncio.create_task(keep()), manager


async def hops(market: Market) -> dict[str, float]:
    """How many blocks passed each hop, as the gateway's metrics tell."""
    url = f"http://127.0.0.1:{market.ws_port}/metrics"
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        text = await response.text()
    found = re.findall(r'tidebook_ws_hop_seconds_count{hop="(\w+)"} ([1-9]\S*)', text)
    return {hop: float(count) for hop, count in found}


def book_of(manager: Any) -> dict[str, list[tuple[Decimal, Decimal]]]:
    cache = manager.get_depth_cache()
    sides = {"bids": cache.get_bids(), "asks": cache.get_asks()}
    return {side: [(price, quantity) for price, quantity in one] for side, one in sides.items()}


def decimal(units: str, decimals: int) -> Decimal:
    return Decimal(to_decimal(int(units), decimals))
