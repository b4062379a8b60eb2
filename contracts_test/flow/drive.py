"""Carries the traders' wishes to a node, in this process or behind a URL."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from contracts_test.accounts import ADDRESSES, PRIVATE_KEYS
from contracts_test.engine import Engine, TxFields
from contracts_test.exchange import Exchange
from contracts_test.flow.books import BOOK_TOPICS
from contracts_test.flow.traders import ETHER_PER_TRADER, Flow, Intent

if TYPE_CHECKING:
    import aiohttp

    from contracts_test.rpc.node import Node

_log = logging.getLogger("tidebook.flow")
PATRON = 8  # which of the ten accounts gives the traders their ether
ORDER_GAS = 1_500_000
MAX_FEE = 10**12
BATCH = 100
LOG_RANGE = 250  # a node in this process does nothing else meanwhile


class NodeRefused(Exception):
    """The node answered a read with an error, so the flow does not know where it stands."""


@dataclass(frozen=True, slots=True)
class FlowConfig:
    """`rate` is order transactions per second; `tick_s` how often they are sent."""

    seed: int = 1
    rate: float = 5.0
    tick_s: float = 0.5


class Transport(Protocol):
    """A way to a node."""

    async def send(self, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Answers to a batch, in order. Raises OSError when the node can not be reached."""
        ...


class LocalTransport:
    """A node in this process."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def send(self, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
        answers = []
        for request in requests:
            answers.append(self._node.answer(request))
            await asyncio.sleep(0)  # signing, mining and answering share one thread
        return answers


class HttpTransport:
    """A node behind a URL; an async context manager."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: aiohttp.ClientSession | None = None

    async def send(self, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession()
        try:
            async with self._session.post(self._url, json=requests) as response:
                if response.status != 200:
                    raise OSError(f"{self._url} answers HTTP {response.status}")
                answers: list[dict[str, Any]] = await response.json(content_type=None)
        except aiohttp.ClientError as error:
            raise OSError(str(error)) from error
        return sorted(answers, key=lambda answer: answer["id"])

    async def __aenter__(self) -> HttpTransport:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()


Wish = tuple[bytes, bytes | None, int, bytes, int]
"""A tx to be: sender, receiver, value, data and gas."""


class Driver:
    """Signs, sends, and tells the traders what came of it."""

    def __init__(self, exchange: Exchange, transport: Transport, seed: int) -> None:
        from contracts_test.pyevm import PyEvmEngine

        self.flow = Flow(exchange, seed)
        self.sent = 0
        self._exchange = exchange
        self._transport = transport
        self._signer: Engine = PyEvmEngine(exchange.chain_id)
        self._nonces: dict[bytes, int] = {}
        self._keys = {t.address: t.key for t in self.flow.traders}
        self._keys[ADDRESSES[PATRON]] = PRIVATE_KEYS[PATRON]
        self._seen: tuple[int, str] | None = None

    # -------------------------------------------------------------------------------- sending

    async def open(self, mine: bool) -> None:
        """Gives the traders ether and tokens, and learns how the market stands.

        `mine` asks the node for blocks in between. On a chain that was traded on before they get
        what is missing, be it nothing.
        """
        await self.provide(mine)
        await self.learn()
        if self.flow.books.count():
            self.flow.resume(self._seen[0] if self._seen else 0)

    async def provide(self, mine: bool) -> None:
        """Gives the traders what they lack, also if a reorg takes it back on its way to them."""
        while lacking := await self._lacking():
            before = self.sent
            await self._send(lacking)
            if self.sent == before:
                raise NodeRefused("the traders cannot be given what they need")
            await self._settle(lacking[-1][0], mine)

    async def _lacking(self) -> list[Wish]:
        """What gives the traders ether; once they have it, what gives them tokens."""
        patron = ADDRESSES[PATRON]
        addresses = [t.address for t in self.flow.traders]
        balances = await self._ask([("eth_getBalance", [_hex(a), "latest"]) for a in addresses])
        gifts: list[Wish] = [
            (patron, address, ETHER_PER_TRADER, b"", 21_000)
            for address, answer in zip(addresses, balances, strict=True)
            if int(_result(answer), 16) < ETHER_PER_TRADER // 2
        ]
        if gifts:
            return gifts
        await self._learn_nonces(set(addresses))
        return _wishes(self.flow.opening(self._nonces), gas=150_000)

    async def send_intents(self, intents: Sequence[Intent], gas: int = ORDER_GAS) -> None:
        """Signs and sends; what the node refuses is logged and its sender's nonce read anew."""
        await self._send(_wishes(intents, gas))

    async def _send(self, wishes: Sequence[Wish]) -> None:
        for start in range(0, len(wishes), BATCH):
            part = wishes[start : start + BATCH]
            await self._learn_nonces({sender for sender, *_ in part})
            raws = []
            for sender, to, value, data, gas in part:
                nonce = self._nonces[sender]
                self._nonces[sender] = nonce + 1
                fields = TxFields(nonce, to, value, gas, data, None, MAX_FEE, 0)
                tx = self._signer.sign(fields, self._keys[sender])
                raws.append("0x" + self._signer.encode(tx).hex())
            answers = await self._ask([("eth_sendRawTransaction", [raw]) for raw in raws])
            for (sender, *_), answer in zip(part, answers, strict=True):
                if "error" in answer:
                    _log.debug("refused: %s", answer["error"])
                    self._nonces.pop(sender, None)
                else:
                    self.sent += 1

    async def _learn_nonces(self, senders: set[bytes]) -> None:
        unknown = sorted(senders - self._nonces.keys())
        if not unknown:
            return
        calls = [("eth_getTransactionCount", [_hex(a), "pending"]) for a in unknown]
        for address, answer in zip(unknown, await self._ask(calls), strict=True):
            self._nonces[address] = int(_result(answer), 16)

    async def _settle(self, sender: bytes, mine: bool) -> None:
        """Waits until nothing of a sender's is under way: it is in a block, or was taken back."""
        while True:
            if mine:
                await self._ask([("anvil_mine", [])])
            counts = [
                ("eth_getTransactionCount", [_hex(sender), at]) for at in ("latest", "pending")
            ]
            in_blocks, with_pending = map(_result, await self._ask(counts))
            if in_blocks == with_pending:
                self._nonces.clear()
                return
            await asyncio.sleep(0 if mine else 0.1)

    # ------------------------------------------------------------------------------- learning

    async def learn(self) -> bool:
        """Reads the books' logs since the last time; after a reorg, from the start.

        Returns whether all that was known still stands.
        """
        stands = True
        (answer,) = await self._ask([("eth_getBlockByNumber", ["latest", False])])
        head = _result(answer)
        number = int(head["number"], 16)
        first = self._exchange.start_block
        if self._seen is not None:
            height, block_hash = self._seen
            (answer,) = await self._ask([("eth_getBlockByNumber", [hex(height), False])])
            block = answer.get("result")
            if block is not None and block["hash"] == block_hash:
                first = height + 1
            else:
                stands = False
                self.flow.forget()
                self._nonces.clear()
        for start in range(first, number + 1, LOG_RANGE):
            wanted = {
                "fromBlock": hex(start),
                "toBlock": hex(min(start + LOG_RANGE - 1, number)),
                "address": [_hex(m.book) for m in self._exchange.markets],
                "topics": [BOOK_TOPICS],
            }
            (answer,) = await self._ask([("eth_getLogs", [wanted])])
            self.flow.books.learn(_result(answer))
        self._seen = (number, head["hash"])
        return stands

    async def _ask(self, calls: Sequence[tuple[str, list[Any]]]) -> list[dict[str, Any]]:
        return await self._transport.send(
            [
                {"jsonrpc": "2.0", "id": i, "method": method, "params": params}
                for i, (method, params) in enumerate(calls)
            ]
        )

    def forget_nonces(self) -> None:
        """They are asked for again before the next sending."""
        self._nonces.clear()

    async def mine(self) -> None:
        """Asks the node for a block."""
        await self._ask([("anvil_mine", [])])

    async def set_automine(self, on: bool) -> None:
        """Switches mining by itself on or off."""
        await self._ask([("evm_setAutomine", [on])])


async def run(exchange: Exchange, transport: Transport, config: FlowConfig) -> None:
    """Trades at a steady rate until cancelled; an unreachable node is waited for."""
    driver = Driver(exchange, transport, config.seed)
    opened = away = False
    owed = 0.0
    last = time.monotonic()
    while True:
        try:
            if not opened:
                await driver.open(mine=False)
                opened = True
                last = time.monotonic()
            if not await driver.learn():
                await driver.provide(mine=False)
            now = time.monotonic()
            # A node that was away is not flooded with what it missed.
            owed = min(owed + (now - last) * config.rate, 10 * config.rate * config.tick_s + 1)
            last = now
            await driver.send_intents(driver.flow.turns(int(owed)))
            owed -= int(owed)
            away = False
        except (OSError, NodeRefused) as error:
            if not away:  # said once, not every tick
                _log.warning("the node does not answer, waiting for it: %s", error)
            away = True
            driver.forget_nonces()
        await asyncio.sleep(config.tick_s)


async def run_against(url: str, config: FlowConfig) -> None:
    """`run` on a devnet behind a URL, which tells its own deployment."""
    import aiohttp

    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url.rstrip('/')}/deployment") as response,
    ):
        if response.status != 200:
            raise NodeRefused(f"{url} serves no deployment: HTTP {response.status}")
        exchange = Exchange.from_deployment(await response.json())
    async with HttpTransport(url) as transport:
        await run(exchange, transport, config)


async def burst(
    exchange: Exchange, transport: Transport, seed: int, orders: int, per_block: int = 20
) -> Driver:
    """Sends `orders` order transactions as fast as they are taken, `per_block` to a block.

    The node must mine on request (`evm_setAutomine` is switched off, and on again afterwards).
    """
    driver = Driver(exchange, transport, seed)
    await driver.set_automine(False)
    await driver.open(mine=True)
    left = orders
    while left:
        await driver.learn()
        intents = driver.flow.turns(min(per_block, left))
        await driver.send_intents(intents)
        await driver.mine()
        left -= len(intents)
    await driver.learn()
    await driver.set_automine(True)
    return driver


def _wishes(intents: Sequence[Intent], gas: int) -> list[Wish]:
    return [(one.sender, one.step.to, 0, one.step.data, gas) for one in intents]


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


def _result(answer: dict[str, Any]) -> Any:
    if "error" in answer:
        raise NodeRefused(answer["error"]["message"])
    return answer["result"]
