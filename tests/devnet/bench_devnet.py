"""Figures of the devnet; not collected by default.

.venv/bin/pytest tests/devnet/bench_devnet.py -s -o python_files='bench_*.py'
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from statistics import median
from typing import Any

from contracts_test.flow import HttpTransport, LocalTransport, burst
from contracts_test.flow.drive import Driver
from contracts_test.node import Config, Devnet, build_node

READY = """
import asyncio, sys
from contracts_test.node import Config, Devnet
async def main():
    async with Devnet(Config(port=0)) as devnet:
        sys.stdout.write(devnet.url + "\\n"); sys.stdout.flush()
asyncio.run(main())
"""
RUNS = 5
ORDERS = 600
PER_BLOCK = 100
READY_LIMIT_S = 2.0
RATE_FLOOR = 60.0


def say(text: str) -> None:
    sys.stdout.write(f"\n  {text}")


def test_ready_with_the_exchange_deployed() -> None:
    """From the start of a process to a socket that answers."""
    times = []
    for _ in range(RUNS):
        before = time.perf_counter()
        with subprocess.Popen([sys.executable, "-c", READY], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            times.append(time.perf_counter() - before)
    say(f"ready: median {median(times):.2f} s, worst {max(times):.2f} s of {RUNS}")
    assert median(times) < READY_LIMIT_S


async def _rate(driver: Driver, mine: Any) -> float:
    """Order transactions per second: signed, sent in batches, mined, wall clock."""
    left, spent = ORDERS, 0.0
    while left:
        await driver.learn()  # what the traders read is not part of the figure
        intents = driver.flow.turns(min(PER_BLOCK, left))
        before = time.perf_counter()
        await driver.send_intents(intents)
        await mine()
        spent += time.perf_counter() - before
        left -= len(intents)
    return ORDERS / spent


async def test_orders_per_second() -> None:
    node, exchange = build_node(Config())
    assert exchange is not None
    driver = await burst(exchange, LocalTransport(node), 1, 0)
    await driver.set_automine(False)
    rate = await _rate(driver, driver.mine)
    newest = node.chain.history.newest(ORDERS // PER_BLOCK)
    gas = sum(b.gas_used for b in newest) // sum(len(b.txs) for b in newest)
    say(f"in process, {PER_BLOCK} per block: {rate:.0f} order tx/s at {gas} gas, signing included")
    assert rate > RATE_FLOOR


async def test_orders_per_second_over_http() -> None:
    async with Devnet(Config(port=0)) as devnet:
        assert devnet.exchange is not None
        async with HttpTransport(devnet.url) as transport:
            driver = await burst(devnet.exchange, transport, 1, 0)
            await driver.set_automine(False)
            rate = await _rate(driver, driver.mine)
            say(f"over HTTP, {PER_BLOCK} per block: {rate:.0f} order tx/s, signing included")
            assert rate > RATE_FLOOR
            await driver.set_automine(True)
            automined = await _rate(driver, lambda: asyncio.sleep(0))
            say(f"over HTTP, a block for each: {automined:.0f} order tx/s\n")
