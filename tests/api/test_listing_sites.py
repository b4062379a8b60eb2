"""Listing sites and charts read the same chain in their own words."""

from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import asyncpg
import pytest

from indexer.domain.interval import open_time
from indexer.domain.trade_ids import trade_id
from indexer.domain.units import to_decimal
from tests.api.test_graphql import decimals, first_market
from tests.indexed import Indexed

Get = Callable[..., Awaitable[Any]]


@pytest.fixture
async def get(base_url: str, http: aiohttp.ClientSession) -> Get:
    async def get(path: str, status: int = 200, **params: object) -> Any:
        query = {name.rstrip("_"): str(value) for name, value in params.items()}
        async with http.get(f"{base_url}/{path}", params=query) as response:
            answer = await response.json()
            assert response.status == status, answer
            return answer

    return get


async def test_a_site_finds_every_pair_s_book_and_trades(get: Get, indexed: Indexed) -> None:
    pairs = await get("pairs")
    tickers = await get("tickers")
    assert [one["ticker_id"] for one in pairs] == [one["ticker_id"] for one in tickers]
    assert len({one["ticker_id"] for one in pairs}) == len(indexed.mirror.markets.rows)
    for pair, ticker in zip(pairs, tickers, strict=True):
        market = pair["pool_id"]
        base, quote = decimals(indexed, market)
        book = await get("orderbook", ticker_id=pair["ticker_id"], depth=0)
        spot = await get("api/v3/depth", symbol=market, limit=5000)
        assert (book["bids"], book["asks"]) == (spot["bids"], spot["asks"])
        assert [ticker["bid"]] == [one[0] for one in spot["bids"][:1]] or not spot["bids"]
        few = await get("orderbook", ticker_id=pair["ticker_id"], depth=4)
        assert (few["bids"], few["asks"]) == (book["bids"][:2], book["asks"][:2])
        trades = await get("historical_trades", ticker_id=pair["ticker_id"], limit=0)
        own = [one for one in indexed.trades if one.market == market][-1000:]
        for side in ("buy", "sell"):
            assert [(one["trade_id"], one["price"]) for one in trades[side]] == [
                (trade_id(one.block_number, one.log_index), to_decimal(one.price, quote))
                for one in reversed(own)
                if one.taker_side == side
            ]
        bought = await get("historical_trades", ticker_id=pair["ticker_id"], type="buy", limit=5)
        assert bought["sell"] == []
        assert base >= 0


async def test_a_chart_draws_the_candles_there_are(get: Get, indexed: Indexed) -> None:
    market = first_market(indexed)
    config = await get("udf/config")
    assert config["supports_search"] is not config["supports_group_request"]
    (found, *_) = await get("udf/search", query="weth", limit=1)
    symbol = await get("udf/symbols", symbol=found["ticker"])
    assert symbol["pricescale"] % 10 == 0 or symbol["pricescale"] == 1
    traded = [one for one in indexed.trades if one.market == market]
    _, quote = decimals(indexed, market)
    for resolution in config["supported_resolutions"]:
        await get("udf/history", symbol=market, resolution=resolution, from_=0, to=2_000_000_000)
    bars = await get("udf/history", symbol=market, resolution="5", from_=0, to=2_000_000_000)
    assert bars["s"] == "ok"
    assert bars["t"] == sorted({open_time("5m", one.timestamp) for one in traded})
    assert str(bars["c"][-1]).rstrip("0").rstrip(".") == to_decimal(traded[-1].price, quote)
    last = bars["t"][-1]
    two = await get("udf/history", symbol=market, resolution="5", from_=0, to=last, countback=2)
    assert two["t"] == bars["t"][-3:-1]
    after = {"from_": last + 300, "to": last + 900}
    gap = await get("udf/history", symbol=market, resolution="5", **after)
    assert gap == {"s": "no_data", "nextTime": last}
    none = await get("udf/history", symbol=market, resolution="5", from_=1, to=2)
    assert none == {"s": "no_data"}


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("udf/history", {"symbol": "WETHUSDC", "resolution": "7", "from_": 0, "to": 1}),
        ("udf/history", {"symbol": "WETHUSDC", "resolution": "5", "from_": "NaN", "to": 1}),
        ("udf/symbols", {"symbol": "NO"}),
    ],
)
async def test_a_chart_is_told_what_was_wrong(get: Get, path: str, params: dict[str, Any]) -> None:
    answer = await get(path, 400, **params)
    assert answer["s"] == "error"
    assert answer["errmsg"]


async def test_reorgs_big_trades_and_own_ones_are_marks(get: Get, indexed: Indexed) -> None:
    market = first_market(indexed)
    trade = next(one for one in indexed.trades if one.market == market)
    writer: Any = await asyncpg.connect(indexed.database_url)
    block = await writer.fetchrow("select number, hash from tidebook.blocks where number = 5")
    row = (block["number"], block["hash"], 7, block["hash"], 2)
    await writer.execute(
        "insert into tidebook.rollbacks (ancestor_number, ancestor_hash, head_number, head_hash,"
        " depth) values ($1, $2, $3, $4, $5)",
        *row,
    )
    try:
        span = {"symbol": market, "resolution": "5", "from_": 0, "to": 2_000_000_000}
        mark, *big = await get("udf/marks", **span)
        assert mark["text"] == "reorg of 2 blocks above block 5"
        traded = [one for one in indexed.trades if one.market == market]
        total = sum(one.quote_amount for one in traded)
        expected = [one for one in traded if one.quote_amount * len(traded) >= 10 * total]
        assert {one["id"] for one in big} == {
            f"trade-{trade_id(one.block_number, one.log_index)}" for one in expected
        }
        assert big
        told = await get("udf/marks", address=trade.taker, **span)
        assert f"trade-{trade_id(trade.block_number, trade.log_index)}" in {m["id"] for m in told}
    finally:
        await writer.execute("delete from tidebook.rollbacks")
        await writer.close()
