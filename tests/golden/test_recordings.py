"""Recorded chains, replayed through the command, equal what their contracts' getters said."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NAMES = ("gtx_main", "gtx_chaos", "scalex_main", "scalex_expiry")

Json = dict[str, Any]


def command(*arguments: str, url: str) -> subprocess.CompletedProcess[bytes]:
    """Run `tidebook …` as a user does, on a database of the test's own."""
    environment = {**os.environ, "TIDEBOOK_DATABASE_URL": url}
    return subprocess.run(
        [sys.executable, "-m", "tidebook", *arguments],
        env=environment,
        capture_output=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(params=NAMES)
def replayed(request: Any, recordings: Path, empty_database_url: str) -> tuple[Json, Json, Json]:
    """(export, truth, header) of one recording."""
    name = request.param
    file = recordings / f"{name}.jsonl.gz"
    ran = command("replay", str(file), url=empty_database_url)
    assert ran.returncode == 0, ran.stderr.decode()
    exported = command("export", url=empty_database_url)
    assert exported.returncode == 0, exported.stderr.decode()
    with gzip.open(recordings / f"{name}.truth.json.gz") as truth, gzip.open(file) as lines:
        return json.loads(exported.stdout), json.load(truth), json.loads(lines.readline())


async def test_an_export_equals_the_contracts_getters_and_has_every_match(
    replayed: tuple[Json, Json, Json], recordings: Path, request: pytest.FixtureRequest
) -> None:
    export, truth, header = replayed
    assert export["block"]["number"] == truth["block"]
    assert export["block"]["hash"] == truth["blockHash"]
    assert export["block"]["timestamp"] == truth["timestamp"]
    markets = {market["address"]: market for market in export["markets"]}
    assert markets.keys() == {pool["orderBook"].lower() for pool in truth["pools"]}
    for pool in truth["pools"]:
        market = markets[pool["orderBook"].lower()]
        assert market["symbol"] == pool["symbol"].replace("/", "-")
        assert market["bids"] == true_levels(pool, "BUY")
        assert market["asks"] == true_levels(pool, "SELL")
        assert_orders(market, pool)
    assert_balances(export, truth)
    name = request.node.callspec.params["replayed"]
    assert_trades(export, recordings / f"{name}.jsonl.gz")
    assert header["chain_id"] == export["chain_id"]


def assert_trades(export: Json, recording: Path) -> None:
    """Every OrderMatched is exactly one trade, with both of its fees, and verified."""
    matched = "0x432c3a35a43fc665c09f0291c507707d040b5ad016703de7b2462a71c767b39a"
    with gzip.open(recording) as lines:
        lines.readline()
        logs = [log for line in lines for log in json.loads(line)["logs"]]
    expected = sorted(
        (int(log["blockNumber"], 16), int(log["logIndex"], 16), log["address"])
        for log in logs
        if log["topics"][0] == matched
    )
    found = sorted(
        (trade["block_number"], trade["log_index"], market["address"])
        for market in export["markets"]
        for trade in market["trades"]
    )
    assert found == expected
    for trade in (trade for market in export["markets"] for trade in market["trades"]):
        assert trade["maker_fee"] is not None
        assert trade["taker_fee"] is not None
        assert trade["verified"] is True


def true_levels(pool: Json, side: str) -> list[list[Any]]:
    """Levels by the getters' queues, best first; a level of filled orders has nothing to take."""
    orders = {order["id"]: order for order in pool["orders"]}
    levels = []
    for level in pool["levels"][side]:
        queue = [orders[order_id] for order_id in level["fifo"]]
        quantity = sum(int(order["quantity"]) - int(order["filled"]) for order in queue)
        if quantity:
            levels.append([level["price"], str(quantity), len(queue)])
    return sorted(levels, key=lambda level: int(level[0]), reverse=side == "BUY")


def assert_orders(market: Json, pool: Json) -> None:
    found = {order["order_id"]: order for order in market["orders"]}
    assert list(found) == sorted(found)
    assert len(found) == pool["nextOrderId"] - 1
    for true in pool["orders"]:
        order = found[true["id"]]
        if true.get("onChain", order) is None:
            assert order["type"] == "market"
            assert order["status"] in ("filled", "partially_filled", "expired")
            continue
        assert order["type"] == "limit"
        assert (order["account"], order["side"]) == (true["user"].lower(), true["side"].lower())
        assert (order["price"], order["quantity"]) == (true["price"], true["quantity"])
        assert order["filled"] == true["filled"]
        assert order["status"] == true["effectiveStatus"].lower(), true


def assert_balances(export: Json, truth: Json) -> None:
    found = {
        (balance["account"], balance["token"]): (balance["available"], balance["locked"])
        for balance in export["balances"]
    }
    true = {
        (balance["user"].lower(), balance["currency"].lower()): (
            balance["available"],
            balance["locked"],
        )
        for balance in truth["balances"]
    }
    assert {key: found.get(key, ("0", "0")) for key in true} == true
    strangers = {key: value for key, value in found.items() if key not in true}
    assert all(value == ("0", "0") for value in strangers.values()), strangers
