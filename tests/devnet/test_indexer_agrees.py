"""The indexer's mirror and our contracts agree: two implementations of RULES.md, no divergence."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import msgspec
import pytest

from contracts_test.abi import encode_call
from contracts_test.accounts import ADDRESSES
from contracts_test.exchange import BUY, SELL, Exchange
from contracts_test.flow import LocalTransport, burst
from contracts_test.node import Config, build_node
from contracts_test.rpc.node import Node
from contracts_test.story import ChainBuilder
from indexer.chain.recording import RecordedBlock
from indexer.decode import created_markets, decode, select
from indexer.domain.change import Applied
from indexer.domain.deployment import parse_deployment
from indexer.domain.units import Address
from indexer.mirror.fold import Mirror
from tests.devnet.test_laws import TRADERS, random_command, rig, run

pytestmark = pytest.mark.filterwarnings("ignore:The recursion limit")


def fold(node: Node, exchange: Exchange) -> tuple[Mirror, list[Applied]]:
    """The mirror of a devnet's chain, as from a recording of it."""
    deployment = parse_deployment(json.dumps(exchange.deployment()).encode())
    tokens = [token for a in deployment.tokens if (token := deployment.token(a)) is not None]
    mirror, markets, applied = Mirror(deployment), set[Address](), []
    for number in range(node.chain.head.number + 1):
        one = msgspec.convert(_line(node, number), RecordedBlock)
        logs = select(one.logs, deployment, markets)
        markets |= created_markets(logs, deployment)
        applied.append(mirror.apply(one.block, decode(one.block, logs), tokens))
    return mirror, applied


def _line(node: Node, number: int) -> dict[str, Any]:
    def ask(method: str, *params: Any) -> Any:
        return node.answer({"id": 1, "method": method, "params": params and list(params)})["result"]

    block = ask("eth_getBlockByNumber", hex(number), False)
    return {
        "number": number,
        "hash": block["hash"],
        "parentHash": block["parentHash"],
        "timestamp": int(block["timestamp"], 16),
        "logsBloom": block["logsBloom"],
        "logs": ask("eth_getLogs", {"blockHash": block["hash"]}),
    }


def divergences(applied: list[Applied]) -> Counter[str]:
    return Counter(str(d) for a in applied for d in a.divergences)


def check_levels(mirror: Mirror, story: ChainBuilder, exchange: Exchange) -> None:
    for market in exchange.markets:
        book = mirror.books[Address("0x" + market.book.hex())]
        for side, name in ((BUY, "buy"), (SELL, "sell")):
            from_getter = {
                price: (quantity, count)
                for price, quantity, count in story.levels(side, market.symbol)
            }
            mine: Counter[int] = Counter()
            counts: Counter[int] = Counter()
            for order in book.orders.rows.values():
                if order.side == name and order.status in ("open", "partially_filled"):
                    mine[order.price] += order.quantity - order.filled
                    counts[order.price] += 1
            assert {p: (mine[p], counts[p]) for p in mine} == from_getter


async def test_the_mirror_foresees_every_log_of_the_order_flow() -> None:
    node, exchange = build_node(Config(genesis_timestamp=1_700_000_000, timestamp_step_s=1))
    assert exchange is not None
    await burst(exchange, LocalTransport(node), 11, 300)
    mirror, applied = fold(node, exchange)
    assert not divergences(applied)
    check_levels(mirror, ChainBuilder(node.chain, exchange), exchange)


@pytest.mark.parametrize("seed", [3])
def test_the_mirror_foresees_every_log_of_a_wild_day(seed: int) -> None:
    oracle = rig().reset()
    draw = random.Random(seed)
    for _ in range(300):
        run(rig(), oracle, random_command(draw))
    mirror, applied = fold(rig().node, rig().exchange)
    assert not divergences(applied)
    market = rig().market
    for i in TRADERS:
        for token in (market.base, market.quote):
            call = encode_call("balanceOf(address,address)", ADDRESSES[i], token.address)
            key = (Address("0x" + ADDRESSES[i].hex()), Address("0x" + token.address.hex()))
            balance = mirror.ledger.balances.rows[key]
            assert [balance.available, balance.locked] == rig().read(
                rig().exchange.balance_manager, call
            )
