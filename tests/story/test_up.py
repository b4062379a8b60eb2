"""The story of a first day: it starts, it tells, it is killed, it goes on."""

import itertools
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import websockets

from tests.story.market import Market, run, until


@pytest.fixture
async def market(tmp_path: Path) -> AsyncIterator[Market]:
    market = Market(tmp_path)
    yield market
    if market.process is not None:
        await market.stop(signal.SIGKILL)
        await until(lambda: gone(market), "every process to end")


async def gone(market: Market) -> bool:
    return not market.processes()


async def test_a_market_comes_alive_survives_its_writer_and_leaves_nothing(
    market: Market, tmp_path: Path
) -> None:
    said = await market.start()
    assert f"http://127.0.0.1:{market.api_port}/graphql" in said

    async with websockets.connect(market.ws) as socket:
        streams = ["wethusdc@trade", "wethusdc@depth"]
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
    assert export == await clean_run(market, export["block"]["number"], tmp_path)

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
    after = await until(lambda: past(market, before["indexed"]["number"] + 2), "more blocks")
    assert after["epoch"] == before["epoch"]
    assert after["reorgs"] == 0
    assert after["seq"] > before["seq"]


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


async def level_with(market: Market) -> bool:
    head = int(await market.rpc("eth_blockNumber"), 16)
    status = await market.status()
    return bool(status["indexed"]["number"] == head)


async def past(market: Market, number: int) -> dict[str, Any] | None:
    status = await market.status()
    return status if status["indexed"]["number"] >= number else None


async def clean_run(market: Market, last: int, tmp_path: Path) -> dict[str, Any]:
    """The same chain, recorded and replayed by one that was never disturbed."""
    file, home = str(tmp_path / "chain.jsonl.gz"), str(tmp_path / "clean")
    node = ("--rpc", market.node)
    code, _, err = await run("record", file, "--from", "0", "--to", str(last), *node)
    assert code == 0, err
    code, _, err = await run("replay", file, "--data-dir", home)
    assert code == 0, err
    code, out, err = await run("export", "--data-dir", home)
    assert code == 0, err
    answer: dict[str, Any] = json.loads(out)
    return answer
