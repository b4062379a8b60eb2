"""The story of a first day: it starts, it tells, it is killed, it goes on."""

import asyncio
import itertools
import json
import os
import signal
from pathlib import Path
from typing import Any

import ccxt  # type: ignore[import-untyped]
import pytest
import websockets
from binance_common.configuration import ConfigurationRestAPI
from binance_sdk_spot.spot import Spot

from contracts_test.node import Config, Devnet
from tests.api.test_subscriptions import talking
from tests.story.market import (
    Market,
    clean_run,
    free_port,
    gone,
    level_with,
    past,
    run,
    until,
)
from tidebook.supervised import ServiceFailed


async def test_a_market_comes_alive_survives_its_writer_and_leaves_nothing(
    market: Market, database_url: str
) -> None:
    said = await market.start()
    assert f"http://127.0.0.1:{market.api_port}/graphql" in said

    async with websockets.connect(market.ws) as socket:
        streams = ["wethusdc@trade", "wethusdc@depth@100ms"]
        await socket.send(json.dumps({"method": "SUBSCRIBE", "params": streams, "id": 1}))
        assert json.loads(await socket.recv()) == {"result": None, "id": 1}
        told = await hear(socket, {"trade": 1, "depthUpdate": 3})

        os.kill(market.service("index"), signal.SIGKILL)
        told += await hear(socket, {"trade": 1, "depthUpdate": 2})  # it came back by itself
    assert_chained([event for event in told if event["e"] == "depthUpdate"])

    data = await market.ask(
        "{ markets { symbol } trades(limit: 3) { price quantity takerSide blockNumber }"
        ' depth(market: "WETH-USDC", limit: 5) { bids { price } asks { price } }'
        " _meta { block { number } } }"
    )
    assert "WETH-USDC" in [one["symbol"] for one in data["markets"]]
    assert len(data["trades"]) == 3
    assert data["depth"]["bids"]

    await market.rpc("evm_setIntervalMining", 0)
    await until(lambda: level_with(market), "the writer to reach the head")
    export = await market.export()
    assert export == await clean_run(market, export["block"]["number"], database_url)
    code, table, _ = await run("status", "--data-dir", str(market.data_dir))
    assert (code, export["block"]["hash"] in table.decode()) == (0, True), table

    assert await market.stop(signal.SIGINT) == 0
    assert await gone(market), market.processes()


async def test_a_killed_market_takes_everything_with_it_and_goes_on_where_it_stood(
    market: Market,
) -> None:
    await market.start()
    await until(lambda: past(market, 5), "some blocks")
    before = await market.status()
    await market.stop(signal.SIGKILL)
    await until(lambda: gone(market), "every process to end")

    await market.start()
    await until(lambda: past(market, before["indexed"]["number"] + 2), "more blocks")
    after = await market.status()
    assert after["epoch"] == before["epoch"]
    assert after["reorgs"] == 0
    assert after["seq"] > before["seq"]

    api = f"http://127.0.0.1:{market.api_port}"
    await until(lambda: asyncio.to_thread(bots_can_read, api), "trades for bots")
    async with talking(api) as client:
        fields = "operation bids { price } asks { price }"
        query = f'subscription {{ depth(market: "WETH-USDC") {{ {fields} }} }}'
        number = await client.ask(query)
        told = (await client.event(number))["operation"]
        assert told == "snapshot"
        while told == "snapshot":  # the writer tells one too, where blocks were final by its start
            told = (await client.event(number))["operation"]
        assert told in ("apply", "promote")


def bots_can_read(api: str) -> bool:
    """Clients that others wrote for Binance, told nothing but our base URL."""
    rest: Any = Spot(config_rest_api=ConfigurationRestAPI("", "", base_path=api)).rest_api
    assert "WETHUSDC" in {one.symbol for one in rest.exchange_info().data().symbols}
    depth = rest.depth("WETHUSDC").data()
    if not (depth.bids and depth.asks):
        return False  # a young market: takers may have emptied a side
    client: Any = ccxt.binance({"options": {"fetchMarkets": {"types": ["spot"]}}})
    client.urls["api"]["public"] = f"{api}/api/v3"
    book = client.fetch_order_book("WETH/USDC")
    whole = all(book[side] for side in ("bids", "asks"))
    assert not whole or book["bids"][0][0] < book["asks"][0][0]
    candles = rest.klines("WETHUSDC", "1m").data()
    trades = rest.get_trades("WETHUSDC").data()
    read = (client.fetch_trades("WETH/USDC"), client.fetch_ohlcv("WETH/USDC"))
    return bool(whole and candles and trades and all(read))


async def test_a_second_one_in_the_same_directory_is_refused_at_once(market: Market) -> None:
    market.data_dir.joinpath("up.lock").write_text("1\n")  # a dead one's
    await market.start("--rate", "0")
    assert market.process is not None
    for own in (True, False):  # also where the first one's ports are in its way
        ports = [free_port() for _ in range(4)]
        if own:
            ports = [market.devnet_port, market.api_port, market.ws_port, market.analytics_port]
        code, out, err = await refused(ports, "--data-dir", str(market.data_dir))
        assert (code, out, err.count("\n")) == (2, b"", 1)
        assert str(market.data_dir) in err
        assert f"(process {market.process.pid})" in err
    assert await market.ask("{ _meta { block { number } } }"), "the first one goes on"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--rpc", "ftp://x"), "--rpc (TIDEBOOK_RPC_URLS): expected http"),
        (("--deployment", "/nope"), "--deployment (TIDEBOOK_DEPLOYMENT): /nope: No such file"),
        (("--rpc", "http://127.0.0.1:1"), "no node at http://127.0.0.1:1"),
        (("--devnet-port", "99999"), "99999 is not in the range 1<=x<=65535"),
        (
            ("--rpc", "HTTPS://us:hunter2@a"),
            "expected http://host:port… or ws://…, found HTTPS://…",
        ),
        (("--rpc", "http://us:hun/ter2@a"), "expected http://host:port… or ws://…, found http://…"),
        (("--rpc", "http://[::1"), "expected http://host:port… or ws://…, found http://…"),
        (("--redis-url", "kv://:hunter2@a"), "redis://, rediss://, unix://… with a port"),
        (("--redis-url", "redis://:hun/ter2@a"), "redis://, rediss://, unix://… with a port"),
        (("--ws-port", "0"), "0 is not in the range 1<=x<=65535"),
    ],
)
async def test_what_cannot_be_is_refused_before_anything_is_started(
    options: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    ports = [free_port() for _ in range(4)]
    code, out, err = await refused(ports, "--data-dir", str(tmp_path), *options)
    assert (code, out, err.count("\n")) == (2, b"", 1), err
    assert told in err
    assert "hun" not in err
    assert not (tmp_path / "postgres").exists()
    assert not (tmp_path / "logs").exists()


async def refused(ports: list[int], *options: str) -> tuple[int, bytes, str]:
    """What an `up` that does not come to anything says about it."""
    flags = ("--devnet-port", "--api-port", "--ws-port", "--analytics-port")
    named = [text for flag, port in zip(flags, ports, strict=True) for text in (flag, str(port))]
    return await run("up", *named, *options)


async def test_a_quiet_chain_whose_head_is_final_is_up_too(market: Market) -> None:
    config = Config(port=0, safe_distance=0, finalized_distance=0)
    async with Devnet(config) as devnet:
        market.devnet_port = devnet.port
        secret = devnet.url.replace("://", "://us:hunter2@")
        said = await market.start("--rpc", secret, "--compare-every", "7")
        assert "://***@127.0.0.1" in said
        assert "hunter2" not in said
        assert await level_with(market)
        settings = market.settings("index")
        assert settings["TIDEBOOK_DATA_DIR"] == str(market.data_dir)
        assert settings["--compare-every"] == "7"
        assert (await market.ask("{ markets { symbol } }"))["markets"]
        assert await market.stop(signal.SIGINT) == 0


async def test_a_writer_without_a_database_says_one_line(tmp_path: Path) -> None:
    nobody = f"postgresql://x@/x?host={tmp_path}"
    async with Devnet(Config(port=0)) as devnet:
        for url in (devnet.url, devnet.url.replace("http", "ws", 1)):
            code, _, err = await run("index", "--rpc", url, "--database-url", nobody)
            assert (code, err.count("\n")) == (2, 1), err
            assert err.startswith("tidebook: TIDEBOOK_DATABASE_URL: no connection to Postgres")


@pytest.mark.parametrize(
    ("code", "written", "told"),
    [
        (2, "tidebook: no disk\nRuntimeError: Event loop is closed\n\n", "no disk"),
        (1, '{"progress":"indexing","block":7}\nKeyError: 4\n', "KeyError: 4"),
        (1, "", "exit code 1"),
        (-9, '{"progress":"indexing","block":7}\n', "ended by SIGKILL"),
    ],
)
def test_a_service_that_failed_is_quoted_with_its_own_last_words(
    code: int, written: str, told: str, tmp_path: Path
) -> None:
    log, before = tmp_path / "index.log", "tidebook: another start, another reason\n"
    log.write_text(before + written)
    said = str(ServiceFailed("index", code, log, len(before)))
    assert said == f"index: {told} (log: {log})"


async def hear(socket: Any, wanted: dict[str, int]) -> list[dict[str, Any]]:
    """Listen until so many events of each kind were told; everything heard."""
    heard: list[dict[str, Any]] = []
    while any(sum(e["e"] == kind for e in heard) < count for kind, count in wanted.items()):
        heard.append(json.loads(await socket.recv()))
    return heard


def assert_chained(diffs: list[dict[str, Any]]) -> None:
    for before, after in itertools.pairwise(diffs):
        assert after["pu"] == before["u"]
        assert after["U"] == before["u"] + 1
        assert after["u"] >= after["U"]
