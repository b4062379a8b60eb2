"""Binance's other streams on a real gateway: books by cadence, sums of trades, accounts."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import insert
from websockets.asyncio.client import connect

from indexer.domain.listing import Directory
from indexer.store import relations as t
from indexer.wire import BlockInfo
from tests.listed import listing
from tests.ws.served import BLOCK, CHAIN_ID, MARKET, TX, WETH, Chain, serving
from tests.ws.test_gateway import hear, subscribe
from ws.app import Config
from ws.channels import EVERYWHERE, Channel, stream_channel

ONE = 10**18
ACCOUNT = "0x" + "ab" * 20
MINUTE = BLOCK.timestamp - BLOCK.timestamp % 60


@pytest.fixture
async def gateway(kept: Chain, database_url: str, redis_url: str) -> AsyncIterator[str]:
    async with serving(Config(database_url, redis_url, CHAIN_ID)) as address:
        yield address


@pytest.mark.parametrize(
    ("stream", "kind"),
    [
        ("wethusdc@depth5", "depth5@1000ms"),
        ("wethusdc@depth20@100ms", "depth20@100ms"),
        ("wethusdc@depth@100ms", "depth@100ms"),
        ("wethusdc@kline_1M", "kline_1M"),
        ("wethusdc@avgPrice", "avgPrice"),
        ("ticker@WETHUSDC", "ticker"),
        ("depth@WETHUSDC", "depth"),
        ("wethusdc@depth", "depth@1000ms"),
        ("wethusdc@kline_1s", "kline_1s"),
        ("wethusdc@depth7", None),
        ("wethusdc@kline_7m", None),
        ("wethusdc@depth@5ms", None),
    ],
)
def test_streams_have_binances_names_and_scalex_s(stream: str, kind: str | None) -> None:
    directory = Directory([listing(MARKET, "WETH-USDC")])
    expected = Channel(MARKET, kind) if kind else None
    assert stream_channel(directory, stream) == expected
    assert stream_channel(directory, "!ticker@arr") == Channel(EVERYWHERE, "ticker")


async def test_books_come_by_their_cadence(gateway: str, kept: Chain) -> None:
    names = ("wethusdc@depth5@100ms", "wethusdc@bookTicker", "wethusdc@depth@100ms")
    async with connect(f"ws://{gateway}/stream?streams={'/'.join(names)}") as client:
        for price in range(1, 8):
            await kept.bid(price * 10**6, ONE, relayed=False)
        await kept.relay_all()
        found: dict[str, Any] = {}
        while len(found) < 3 or found[names[0]]["lastUpdateId"] < 7:
            frame = await hear(client)
            found[frame["stream"]] = frame["data"]
    assert found[names[0]] == {
        "lastUpdateId": 7,
        "bids": [[str(price), "1"] for price in (7, 6, 5, 4, 3)],
        "asks": [],
    }
    ticker = {"u": 7, "s": "WETHUSDC", "b": "7", "B": "1", "a": "0", "A": "0"}
    assert found[names[1]] == ticker
    assert (found[names[2]]["U"], found[names[2]]["u"], found[names[2]]["pu"]) == (1, 7, 0)


async def test_what_was_committed_before_the_start_is_no_news(
    database_url: str, redis_url: str, kept: Chain
) -> None:
    """The relay was behind: strict clients have it by REST, and would take it for new."""
    await kept.trade(1_000_000, relayed=False)
    async with (
        serving(Config(database_url, redis_url, CHAIN_ID)) as gateway,
        connect(f"ws://{gateway}/ws/wethusdc@trade") as client,
    ):
        await kept.relay_all()
        await kept.trade(2_000_000)
        assert (await hear(client))["p"] == "2"


async def test_a_backfill_s_snapshot_is_one_more_diff(gateway: str, kept: Chain) -> None:
    async with connect(f"ws://{gateway}/ws/depth@wethusdc") as client:
        await kept.bid(5 * 10**6, ONE)
        await kept.bid(6 * 10**6, ONE)
        book = {"bids": [[str(7 * 10**6), str(ONE), 1], [str(5 * 10**6), str(ONE), 1]], "asks": []}
        await kept.publish("depth", "snapshot", book)
        diffs = [await hear(client) for _ in range(3)]
    assert [(one["pu"], one["u"]) for one in diffs] == [(0, 1), (1, 2), (2, 3)]
    assert dict(diffs[2]["b"]) == {"7": "1", "5": "1", "6": "0.00000000"}


async def test_trades_of_one_taker_at_one_price_are_one_aggregate(
    gateway: str, kept: Chain
) -> None:
    async with connect(f"ws://{gateway}/ws/wethusdc@aggTrade") as client:
        for price in (2, 2, 3):
            await kept.trade(price * 10**6, relayed=False)
        await kept.relay_all()
        first, second = [await hear(client) for _ in range(2)]
    assert (first["p"], first["q"], first["l"] - first["f"]) == ("2", "2", 1)
    assert (second["p"], second["q"], second["a"]) == ("3", "1", second["f"])


async def test_candles_and_tickers_are_sums_of_what_is_stored(gateway: str, kept: Chain) -> None:
    candle = {"market": MARKET, "volume": 2 * ONE, "quote_volume": 5 * 10**6, "trades": 2}
    prices = {"open": 2 * 10**6, "high": 3 * 10**6, "low": 2 * 10**6, "close": 3 * 10**6}
    taken = {"taker_buy_volume": 0, "taker_buy_quote_volume": 0}
    async with kept.engine.begin() as connection:
        row = {**candle, **prices, **taken, "open_time": MINUTE}
        await connection.execute(insert(t.candles).values(**row))
    names = ("wethusdc@kline_1h", "wethusdc@ticker", "wethusdc@avgPrice", "!miniTicker@arr")
    async with connect(f"ws://{gateway}/stream?streams={'/'.join(names)}") as client:
        await kept.publish("klines", "apply", {"open_time": MINUTE, "candle": None})
        found: dict[str, Any] = {}
        while len(found) < 4:
            frame = await hear(client)
            found[frame["stream"]] = frame["data"]
    kline = found[names[0]]["k"]
    assert (kline["o"], kline["h"], kline["l"], kline["c"]) == ("2", "3", "2", "3")
    assert (kline["v"], kline["q"], kline["n"], kline["x"]) == ("2", "5", 2, False)
    ticker = found[names[1]]
    assert (ticker["p"], ticker["P"], ticker["w"]) == ("1", "50", "2.5")
    assert found[names[2]]["w"] == "2.5"
    assert [one["s"] for one in found[names[3]]] == ["WETHUSDC"]


REPORT = {
    "order_id": 4,
    "account": ACCOUNT,
    "kind": "traded",
    "status": "partially_filled",
    "filled": str(ONE),
    "quote_filled": str(2 * 10**6),
    "side": "buy",
    "type": "limit",
    "time_in_force": "gtc",
    "price": str(2 * 10**6),
    "quantity": str(3 * ONE),
    "placed_at": 1_735_700_000,
    "trade_price": str(2 * 10**6),
    "trade_quantity": str(ONE),
    "trade_quote_amount": str(2 * 10**6),
    "trade_fee": str(ONE // 1000),
    "is_maker": True,
}


async def test_an_account_hears_of_its_own(gateway: str, kept: Chain) -> None:
    held = {"available": str(ONE), "locked": "0", "deposited": "0", "withdrawn": "0"}
    balance = {"account": ACCOUNT, "token": WETH, "balance": held, "before": None}
    async with (
        connect(f"ws://{gateway}/ws/{ACCOUNT}") as client,
        connect(f"ws://{gateway}/ws/{ACCOUNT}") as strict,
        connect(f"ws://{gateway}/ws/{MARKET}") as other,
    ):
        text = json.dumps({"method": "SET_PROPERTY", "params": ["retractions", True], "id": 1})
        await client.send(text)
        assert (await hear(client))["result"] is None
        await subscribe(other, "wethusdc@trade")
        await kept.publish("execution_reports", "apply", REPORT)
        await kept.publish("execution_reports", "retract", REPORT)
        await kept.publish("balances", "apply", balance, None)
        await kept.trade(1)
        report, retracted, position = [await hear(client) for _ in range(3)]
        assert [(await hear(strict))["e"] for _ in range(2)] == [
            "executionReport",
            "outboundAccountPosition",
        ]
        assert (await hear(other))["e"] == "trade"
    assert (report["x"], report["X"], report["i"]) == ("TRADE", "PARTIALLY_FILLED", 4)
    assert (report["l"], report["z"], report["L"], report["n"]) == ("1", "1", "2", "0.001")
    assert (report["N"], report["m"], retracted["x"]) == ("WETH", True, "RETRACTED")
    assert position["B"] == [{"a": "WETH", "f": "1", "l": "0"}]


@pytest.mark.parametrize("rest_s", [3, 31_536_000])
async def test_seconds_are_sums_of_trades_and_told_when_they_close(
    gateway: str, kept: Chain, rest_s: int
) -> None:
    """Two blocks, a rest apart: the candle of the first is told as closed."""
    facts = {"tx": TX, "maker_order_id": 1, "taker_order_id": 2, "maker": ACCOUNT, "taker": ACCOUNT}
    rows = [
        (BLOCK.timestamp, 0, 2 * 10**6, ONE, "buy"),
        (BLOCK.timestamp, 1, 3 * 10**6, ONE, "sell"),
        (BLOCK.timestamp + rest_s, 2, 4 * 10**6, 2 * ONE, "buy"),
    ]
    async with kept.engine.begin() as connection:
        for at, index, price, quantity, side in rows:
            row = {"block_number": 156, "log_index": index, "market": MARKET, "timestamp": at}
            amounts = {"price": price, "quantity": quantity, "quote_amount": price}
            row |= {**facts, **amounts, "taker_side": side}
            await connection.execute(insert(t.trades).values(row))
    touched = {"open_time": MINUTE, "candle": None}
    async with connect(f"ws://{gateway}/ws/wethusdc@kline_1s") as client:
        await kept.publish("klines", "apply", touched)
        first = (await hear(client))["k"]
        later = BlockInfo(157, BLOCK.hash, BLOCK.timestamp + rest_s)
        await kept.publish("klines", "apply", touched, block=later)
        closed, second = [(await hear(client))["k"] for _ in range(2)]
    assert (first["o"], first["h"], first["c"], first["v"], first["x"]) == (
        "2",
        "3",
        "3",
        "2",
        False,
    )
    assert (first["V"], first["Q"], first["n"], first["T"] - first["t"]) == ("1", "2", 2, 999)
    assert closed == {**first, "x": True}
    assert (second["t"] - first["t"], second["c"], second["v"]) == (rest_s * 1000, "4", "2")
