"""Many listeners, three gateways, and a bad day: every client's history is checked to the end.

    python -m tests.ws.chaos --clients 300 --seconds 90 --seed 7

Gateways are killed, stopped and frozen, Redis is killed, the chain reorganises, clients reconnect
by the dozen and some read slowly. Then the chain rests, and every book must be what `tidebook
export` says. One seed decides what is done to them; when it happens is the machine's affair.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from indexer.domain.units import to_decimal
from tests.story.market import Market, free_port, level_with, until
from tests.ws.history import Binance, Book, History, Native, States, require

GATEWAYS = 3
NARROW_BYTES = 4096
RESTS_S = (0.3, 1.2)
"""Between two disturbances."""
MAX_DEPTH = 7
"""Blocks of a reorg: the devnet's are final after 8."""
SETTLE_S = 60.0
LOST = (ConnectionClosed, InvalidHandshake, OSError, TimeoutError, EOFError)


class Gateways:
    """Three processes of `tidebook ws` on one market."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = {**os.environ, **environment}
        self.ports = [free_port() for _ in range(GATEWAYS)]
        self.processes: dict[int, asyncio.subprocess.Process] = {}

    async def start(self, port: int) -> None:
        self.processes[port] = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tidebook", "ws", "--port", str(port)),
            env=self._environment,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await until(lambda: self._answers(port), f"the gateway on port {port}")

    async def _answers(self, port: int) -> bool:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return True
        return False

    async def end(self, port: int, number: signal.Signals) -> None:
        process = self.processes[port]
        process.send_signal(number)
        await asyncio.wait_for(process.wait(), SETTLE_S)

    async def stop(self) -> None:
        for process in self.processes.values():
            if process.returncode is None:
                process.kill()
                await process.wait()


class Chaos:
    """Clients of both dialects over one market and its gateways."""

    def __init__(self, market: Market, gateways: Gateways, seed: int) -> None:
        self.market = market
        self.gateways = gateways
        self.dice = random.Random(seed)
        self.natives: list[Native] = []
        self.strict: list[Binance] = []
        self.done: Counter[str] = Counter()
        """What was done to them, and how connections ended."""
        self._sockets: set[ClientConnection] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self.export: dict[str, Any] = {}
        """What was stored in the end."""

    def populate(self, clients: int, symbols: list[str], accounts: list[str]) -> None:
        """Three of four speak our protocol, every sixth reads slowly."""
        for number in range(clients):
            symbol, slow = self.dice.choice(symbols), number % 6 == 5
            dice = random.Random(self.dice.randrange(2**32))
            if number % 4 == 3:
                strict = Binance(symbol.replace("-", "").lower(), self.dice.choice(("", "@100ms")))
                self.strict.append(strict)
                self._tasks.append(asyncio.create_task(self._listen_strictly(strict, dice)))
                continue
            native = Native(_channels(self.dice, symbol, self.dice.choice(accounts)))
            self.natives.append(native)
            self._tasks.append(asyncio.create_task(self._listen(native, dice, slow=slow)))

    # -- clients ---------------------------------------------------------------------------------

    async def _listen(self, native: Native, dice: random.Random, *, slow: bool) -> None:
        while True:
            with contextlib.suppress(*LOST):
                async with self._connect("v1", dice, slow=slow) as client:
                    for request in native.connected():
                        await client.send(json.dumps(request))
                    async for text in client:
                        native.hear(json.loads(text))
                        if slow and dice.random() < 0.05:
                            await asyncio.sleep(dice.random())  # this is what slow means
            await asyncio.sleep(dice.uniform(0.02, 0.3))

    async def _listen_strictly(self, strict: Binance, dice: random.Random) -> None:
        url = f"http://127.0.0.1:{self.market.api_port}/api/v3/depth"
        query = {"symbol": strict.market.upper(), "limit": "5000"}
        async with aiohttp.ClientSession() as http:
            while True:
                with contextlib.suppress(*LOST, aiohttp.ClientError):
                    async with self._connect("ws", dice, slow=False) as client:
                        strict.connected()
                        for number, (method, params) in enumerate(strict.requests):
                            text = {"method": method, "params": params, "id": number}
                            await client.send(json.dumps(text))
                        while strict.answers < len(strict.requests):
                            strict.hear(json.loads(await client.recv()))
                        async with http.get(url, params=query) as response:
                            if response.status == 200:
                                strict.snapshot(await response.json())
                                async for text in client:
                                    strict.hear(json.loads(text))
                await asyncio.sleep(dice.uniform(0.02, 0.3))

    @contextlib.asynccontextmanager
    async def _connect(self, path: str, dice: random.Random, *, slow: bool) -> Any:
        port = dice.choice(self.gateways.ports)
        options: dict[str, Any] = {"max_size": None, "open_timeout": 5, "ping_interval": None}
        if slow:
            pipe = socket.socket()
            pipe.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NARROW_BYTES)
            pipe.setblocking(False)
            loop = asyncio.get_running_loop()
            await asyncio.wait_for(loop.sock_connect(pipe, ("127.0.0.1", port)), 5)
            options |= {"sock": pipe, "max_queue": 1}
        async with connect(f"ws://127.0.0.1:{port}/{path}", **options) as client:
            self._sockets.add(client)
            try:
                yield client
            finally:
                self._sockets.discard(client)
                self.done[f"closed {client.close_code or 'without a word'}"] += 1

    # -- what is done to them --------------------------------------------------------------------

    async def disturb(self, seconds: float) -> None:
        """Everything at least once, then by the dice until the time is over."""
        await until(self._settled_in, "everybody to have heard some blocks")
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds
        first: list[Callable[[], Awaitable[None]]] = [
            *(self.reorg, self.kill_gateway, self.storm, self.kill_redis),
            *(self.reorg, self.stop_gateway, self.freeze_gateway),
        ]
        weights = (*(self.reorg,) * 4, self.storm, self.storm, *first)
        while first or loop.time() < ends:
            act = first.pop(0) if first else self.dice.choice(weights)
            self.done[act.__name__] += 1
            await act()
            await self._rest()

    async def _settled_in(self) -> bool:
        """So that the first reorg takes back what was told, not what came before."""
        channels = [one for native in self.natives for one in native.channels.values()]
        books = [one for one in channels if isinstance(one, Book) and one.conflate == "raw"]
        return all(one.holds for one in channels) and all(len(one.applied) > 3 for one in books)

    async def _rest(self) -> None:
        """Let the market go on for a while; a client that found a lie ends the run."""
        wait = asyncio.wait(self._tasks, timeout=self.dice.uniform(*RESTS_S))
        for task in (await asyncio.gather(wait))[0][0]:
            task.result()

    async def reorg(self) -> None:
        """Of blocks that were told: the writer may be behind for a while."""
        lag = 0

        async def near() -> bool:
            nonlocal lag
            head = int(await self.market.rpc("eth_blockNumber"), 16)
            lag = head - (await self.market.indexed())
            return 0 <= lag <= MAX_DEPTH - 3

        await until(near, "the writer to be near the head")
        depth = min(lag + self.dice.randint(2, 5), MAX_DEPTH)
        body = {"depth": depth, "drop": self.dice.random() < 0.3}
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{self.market.node}/chaos/reorg", json=body) as response,
        ):
            require(response.status == 200, "no reorg", await response.text())

    async def kill_gateway(self) -> None:
        await self._replace_gateway(signal.SIGKILL)

    async def stop_gateway(self) -> None:
        await self._replace_gateway(signal.SIGTERM)

    async def _replace_gateway(self, number: signal.Signals) -> None:
        port = self.dice.choice(self.gateways.ports)
        await self.gateways.end(port, number)
        await self.gateways.start(port)

    async def freeze_gateway(self) -> None:
        process = self.gateways.processes[self.dice.choice(self.gateways.ports)]
        process.send_signal(signal.SIGSTOP)
        await self._rest()
        process.send_signal(signal.SIGCONT)

    async def storm(self) -> None:
        """A third of all clients come again at once."""
        for client in self.dice.sample(sorted(self._sockets, key=id), len(self._sockets) // 3):
            client.transport.abort()

    async def kill_redis(self) -> None:
        os.kill(self.market.server("valkey"), signal.SIGKILL)
        await self.market.hear("tidebook: Valkey has ended")

    # -- the end ---------------------------------------------------------------------------------

    async def settle(self) -> None:
        """The chain rests; everybody hears the rest, and is held against the export."""
        await self.market.rpc("evm_setIntervalMining", 0)

        await until(lambda: level_with(self.market), "the writer to reach the head")
        export = self.export = await self.market.export()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                while not await self._agrees(export):
                    await asyncio.sleep(0.2)
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        self.compare(export)

    async def _agrees(self, export: dict[str, Any]) -> bool:
        for task in self._tasks:
            if task.done():
                task.result()
        with contextlib.suppress(AssertionError):
            self.compare(export)
            return True
        return False

    def compare(self, export: dict[str, Any]) -> None:
        """Every client's state with what is stored."""
        markets = {one["symbol"]: one for one in export["markets"]}
        for native in self.natives:
            for channel in native.channels.values():
                require(channel.holds, "not told of", channel.channel)
                _compare(channel, markets, export["balances"])
        for strict in self.strict:
            market = next(
                one
                for name, one in markets.items()
                if name.replace("-", "").lower() == strict.market
            )
            quote, base = self.decimals[market["symbol"]]
            for side, held in (("bids", strict.sides["b"]), ("asks", strict.sides["a"])):
                levels = {
                    to_decimal(int(price), quote): to_decimal(int(quantity), base)
                    for price, quantity, _ in market[side]
                }
                require(held == levels, "another book than the export", strict.market, side)

    decimals: dict[str, tuple[int, int]]
    """Of each market's quote and base."""

    def report(self) -> str:
        counts = sum((native.counts() for native in self.natives), Counter[str]())
        strict = sum((one.seen for one in self.strict), Counter[str]())
        lines = [
            ("clients", {"/v1": len(self.natives), "Binance": len(self.strict)}),
            ("done", dict(sorted(self.done.items()))),
            ("/v1", dict(sorted(counts.items()))),
            ("Binance", dict(sorted(strict.items()))),
        ]
        return "\n".join(f"{name}: {told}" for name, told in lines)


def _channels(dice: random.Random, symbol: str, account: str) -> list[tuple[str, str]]:
    """A book, and some of the rest, each in a cadence."""
    others = [f"trades:{symbol}", f"klines:{symbol}", "system"]
    others += [f"{one}:{account}" for one in ("orders", "balances", "execution_reports")]
    cadences = ("raw", "raw", "raw", "block", "100ms", "1000ms")
    chosen = [f"depth:{symbol}", *dice.sample(others, 3)]
    return [(name, dice.choice(cadences)) for name in chosen]


def _compare(channel: History, markets: dict[str, Any], balances: list[dict[str, Any]]) -> None:
    kind, _, subject = channel.channel.partition(":")
    if isinstance(channel, Book):
        for side in ("bids", "asks"):
            told, stored = channel.levels(side), markets[subject][side]
            require(told == stored, "another book than the export", channel.channel, side)
    elif isinstance(channel, States) and kind == "balances":
        stored_balances = {
            one["token"]: (str(one["available"]), str(one["locked"]))
            for one in balances
            if one["account"] == subject
        }
        told_balances = {
            token: (one["available"], one["locked"]) for (_, token), one in channel.held.items()
        }
        require(told_balances == stored_balances, "other balances than the export", subject)


async def _accounts(market: Market) -> list[str]:
    """Whoever has placed an order."""
    orders = (await market.ask("{ orders(limit: 100) { account } }"))["orders"]
    return sorted({one["account"] for one in orders})


async def run(market: Market, said: str, clients: int, seconds: float, seed: int) -> Chaos:
    """A bad day on a market that is up; `said` is what it printed. Raises Broken."""
    urls = dict(line.split() for line in said.splitlines() if "://" in line)
    gateways = Gateways(
        {"TIDEBOOK_DATABASE_URL": urls["Postgres"], "TIDEBOOK_REDIS_URL": urls["Redis"]}
    )
    chaos = Chaos(market, gateways, seed)
    query = "{ markets { symbol quote { decimals } base { decimals } } }"
    listed = (await market.ask(query))["markets"]
    chaos.decimals = {
        one["symbol"]: (one["quote"]["decimals"], one["base"]["decimals"]) for one in listed
    }
    try:
        accounts, *_ = await asyncio.gather(
            until(lambda: _accounts(market), "the first orders"),
            *map(gateways.start, gateways.ports),
        )
        chaos.populate(clients, [one["symbol"] for one in listed], accounts)
        await chaos.disturb(seconds)
        await chaos.settle()
    except BaseException:
        print(chaos.report())  # noqa: T201
        raise
    finally:
        await gateways.stop()
    return chaos


async def main() -> None:
    """The large run, on a market of its own."""
    parser = argparse.ArgumentParser(description="a bad day for many listeners")
    parser.add_argument("--clients", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    asked = parser.parse_args()
    print(f"seed {asked.seed}")  # noqa: T201
    with tempfile.TemporaryDirectory() as place:
        market = Market(Path(place))
        try:
            said = await market.start("--block-time", "0.5", "--rate", "15")
            day = await run(market, said, asked.clients, asked.seconds, asked.seed)
            print(day.report())  # noqa: T201
        finally:
            await market.stop()


if __name__ == "__main__":
    asyncio.run(main())
