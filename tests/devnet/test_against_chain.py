"""Our state against the contracts' getters: equal, and every forged field is named."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from abis.getters import SELECTORS
from contracts_test.abi import selector
from contracts_test.flow import LocalTransport, burst
from contracts_test.node import Config, build_node
from contracts_test.pytest_plugin import RunningDevnet
from contracts_test.rpc.node import Node
from contracts_test.story import ChainBuilder, cancel, mine, place
from indexer.chain.errors import NoState
from indexer.chain.getters import read_words
from indexer.chain.rpc import Rpc
from indexer.domain.block import Block
from indexer.domain.deployment import parse_deployment
from indexer.domain.units import Address, Amount, Hash
from indexer.mirror.compare import Difference, Limits, Sample, differences, questions, sample_of
from indexer.mirror.fold import Mirror
from tests.devnet.test_indexer_agrees import fold
from tests.model import recorded
from tests.story.market import run
from tidebook.comparison import Periodic
from tidebook.progress import BlockProgress
from tidebook.settings import Chain

pytestmark = pytest.mark.filterwarnings("ignore:The recursion limit")
LIMITS = Limits()


class InProcess:
    """A devnet's node as a transport."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def send(self, body: bytes, ids: Sequence[int]) -> bytes:
        request = json.loads(body)
        requests = request if isinstance(request, list) else [request]
        answers = [self._node.answer(one) for one in requests]
        return json.dumps(answers if isinstance(request, list) else answers[0]).encode()

    async def close(self) -> None: ...


async def ask(node: Node, mirror: Mirror, sample: Sample) -> list[Difference]:
    asked = questions(sample, mirror.deployment, LIMITS)
    rpc = Rpc("devnet", InProcess(node))
    answers = await read_words(rpc, [(q.contract, q.data) for q in asked], sample.block)
    pairs = zip(asked, answers, strict=True)
    return [one for question, answer in pairs for one in differences(question, answer)]


def test_the_selectors_are_those_of_their_signatures() -> None:
    assert {name: "0x" + selector(name).hex() for name in SELECTORS} == SELECTORS


async def test_the_mirror_equals_the_getters_and_every_forged_field_is_named() -> None:
    node, exchange = build_node(Config(genesis_timestamp=1_700_000_000, timestamp_step_s=1))
    assert exchange is not None
    await burst(exchange, LocalTransport(node), 5, 150)
    mirror, _ = fold(node, exchange)
    sample = sample_of(mirror, LIMITS)
    assert min(len(sample.levels), len(sample.balances)) > 10
    assert {order.status for order in sample.orders} >= {"open", "filled", "cancelled"}
    assert await ask(node, mirror, sample) == []

    level, balance = copy(sample.levels[0]), copy(sample.balances[0])
    order = copy(next(order for order in sample.orders if order.queued))
    level.count += 1
    balance.available = Amount(balance.available + 1)  # what a hidden move leaves behind
    order.status = "filled"
    forged = msgspec.structs.replace(
        sample,
        levels=(level, *sample.levels[2:]),
        orders=(order,),
        balances=(balance, *sample.balances[1:]),
    )
    found = await ask(node, mirror, forged)
    gone = sample.levels[1]
    named = {one.field for one in found}
    assert f"{level.side} level {level.price} count" in named
    assert f"balance of {balance.account} in {balance.token} available" in named
    assert f"order {order.order_id} status" in named
    missing = [one for one in found if f"level {gone.price} quantity" in one.field]
    assert [(one.expected, one.found) for one in missing] == [(None, gone.quantity)]
    assert len(found) == 3 + 4


async def test_a_node_without_the_block_says_so_in_one_line() -> None:
    node, _ = build_node(Config(genesis_timestamp=1_700_000_000, timestamp_step_s=1))
    nowhere = Block(7, Hash("0x" + "11" * 32), Hash("0x"), 0)
    with pytest.raises(NoState, match=r"the node has no state at block 7 .*archive node"):
        await read_words(
            Rpc("devnet", InProcess(node)), [(Address("0x" + "22" * 20), "0x")], nowhere
        )


@pytest.mark.parametrize("name", ["gtx_chaos", "scalex_expiry"])
def test_levels_and_balances_of_real_contracts_equal_what_their_getters_said(name: str) -> None:
    """`getOrderQueue` and `getBalance`, as their truth file kept the answers."""
    mirror, _ = recorded.fold(name)
    said = recorded.truth(name)
    answers: dict[str, list[int]] = {}
    for pool in said["pools"]:
        market = pool["orderBook"].lower()
        for side, levels in pool["levels"].items():
            for one in levels:
                about = f"{market} {side.lower()} level {one['price']}"
                answers[about] = [int(one["orderCount"]), int(one["totalVolume"])]
    for one in said["balances"]:
        about = f"balance of {one['user'].lower()} in {one['currency'].lower()}"
        answers[f"{said_manager(mirror)} {about}"] = [int(one["available"])]
    asked = questions(sample_of(mirror, LIMITS), mirror.deployment, LIMITS)
    known = [(q, answers[key]) for q in asked if (key := f"{q.contract} {q.about}") in answers]
    assert len({q.contract for q, _ in known}) == 1 + len(said["pools"])
    assert [one for q, answer in known for one in differences(q, answer)] == []


def said_manager(mirror: Mirror) -> str:
    return mirror.deployment.contracts.balance_manager


async def test_the_command_finds_a_forged_level_and_a_market_stays_marked_until_acknowledged(
    devnet: RunningDevnet,
    devnet_chain: ChainBuilder,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TIDEBOOK_DATABASE_URL", database_url)
    monkeypatch.setenv("TIDEBOOK_RPC_URLS", devnet.url)
    devnet_chain.run(
        place("alice", sell=5, at=100, name="a"), place("bob", sell=1, at=101), mine(),
        place("carol", buy=2, at=100), cancel("alice", "a"), mine(),
        place("bob", buy=2, at=99), mine(),
    )  # fmt: skip
    head = str(devnet.within(lambda: devnet.devnet.chain.head.number))
    file = tmp_path / "devnet.jsonl.gz"
    assert (await run("record", str(file), "--from", "0", "--to", head))[0] == 0
    assert (await run("replay", str(file)))[0] == 0
    code, out, err = await run("verify", "--against-chain")
    assert (code, err) == (0, ""), out
    assert re.search(rb"2 levels, \d+ balances, 4 orders compared, 0 differences", out), out
    past = str(int(head) - 1)
    code, out, err = await run("verify", "--against-chain", "--block", past)
    assert (code, err) == (0, "")
    assert out.startswith(b"block " + past.encode() + b": 1 levels")

    connection: Any = await asyncpg.connect(database_url)
    try:
        await connection.execute("update tidebook.levels set count = 9 where side = 'buy'")
        code, out, err = await run("verify", "--against-chain")
        assert code == 1
        assert err == "tidebook: our state is not the contracts': 1 differences\n"
        assert b"count: expected 9, found 1" in out

        deployment = parse_deployment(json.dumps(devnet.deployment).encode())
        chain = Chain((devnet.url,), None, 64, compare_every=1)
        periodic = Periodic(BlockProgress("test"), database_url, chain, deployment)
        assert [await periodic.once(), await periodic.once()] == [1, 0], "stored once"
        stored = await connection.fetch(
            "select kind, found ->> 'value' v from tidebook.divergences"
        )
        assert [tuple(row) for row in stored] == [("state", "1")]
        await connection.execute("update tidebook.levels set count = 1 where side = 'buy'")
        assert json.loads((await run("status", "--json"))[1])["marked"] == {"WETH-USDC": 1}
        assert (await run("acknowledge"))[0] == 2
        assert (await run("acknowledge", "weth-usdc"))[1] == b"acknowledged 1 divergences\n"
        assert json.loads((await run("status", "--json"))[1])["marked"] == {}
    finally:
        await connection.close()
