"""The same contracts and orders on two EVMs: one indexer, one state."""

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts_test.exchange import Exchange
from contracts_test.flow.drive import HttpTransport, LocalTransport, burst
from contracts_test.node import Devnet
from indexer.chain.node import Node
from indexer.chain.steps import Follower
from indexer.domain.canon import Canon
from indexer.domain.deployment import parse_deployment
from indexer.follow import follow
from indexer.store.writer import open_store
from tests.devnet.test_conformance import spawn_anvil
from tests.devnet.test_flow import FIXED, OneByOne, deploy_over_rpc
from tests.store.chains import exported

ORDERS = 60
SEED = 4


class Reached(Exception):
    """The head was indexed: enough."""


async def index_to_head(url: str, exchange: Exchange, database_url: str) -> dict[str, Any]:
    """Follow a node until its head is in the database; the export."""
    deployment = parse_deployment(msgspec.json.encode(exchange.deployment()))
    node = await Node.open(url, deployment)
    goal = (await node.head()).number
    store = await open_store(database_url, deployment)

    def enough(canon: Canon, blocks: int, events: int, node_head: int) -> None:
        if canon.head is not None and canon.head.number >= goal:
            raise Reached

    try:
        with pytest.raises(Reached):
            await follow(
                store,
                lambda canon, mirror: Follower(node, canon, deployment, mirror.books),
                enough,
            )
    finally:
        await store.close()
        await node.close()
    return await exported(database_url)


async def test_anvil_and_the_devnet_lead_to_the_same_state(
    database_url: str, other_database_url: str, tmp_path: Path
) -> None:
    async with Devnet(dataclasses.replace(FIXED, port=0)) as devnet:
        assert devnet.exchange is not None
        await burst(devnet.exchange, LocalTransport(devnet.node), SEED, ORDERS)
        ours = await index_to_head(devnet.url, devnet.exchange, database_url)
    with spawn_anvil("--timestamp", "1700000000", "--order", "fifo") as anvil:
        anvil.ask("anvil_setBlockTimestampInterval", [1])
        exchange = deploy_over_rpc(anvil)
        async with HttpTransport(anvil.url) as http:
            await burst(exchange, OneByOne(http), SEED, ORDERS)
        theirs = await index_to_head(anvil.url, exchange, other_database_url)
    assert sum(len(market["trades"]) for market in ours["markets"]) > 10
    assert ours["markets"] == theirs["markets"]
    assert ours["balances"] == theirs["balances"]
    assert ours["block"]["number"] == theirs["block"]["number"]
