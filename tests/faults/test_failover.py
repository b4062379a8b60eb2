"""Whatever asks a node asks another when the first named is dead."""

from pathlib import Path

import pytest

from contracts_test.pytest_plugin import RunningDevnet
from indexer.chain.providers import Providers
from indexer.chain.recording import Recording
from tests.story.market import free_port
from tidebook.settings import BadSetting, Chain, find_deployment
from tidebook.tasks import record


@pytest.fixture
def chain(devnet: RunningDevnet) -> Chain:
    return Chain((f"http://127.0.0.1:{free_port()}", devnet.url), None, 64)


async def test_the_deployment_and_a_recording_come_from_who_lives(
    chain: Chain, devnet: RunningDevnet, tmp_path: Path
) -> None:
    deployment = await find_deployment(chain)
    assert (
        deployment.contracts.pool_manager == devnet.deployment["contracts"]["pool_manager"].lower()
    )
    await record(chain, tmp_path / "chain.jsonl.gz", 0, 1)
    assert [block.number for block in Recording(tmp_path / "chain.jsonl.gz").blocks()] == [0, 1]


async def test_getters_are_asked_of_who_lives(chain: Chain, devnet: RunningDevnet) -> None:
    deployment = await find_deployment(chain)
    nodes = await Providers.open(chain.urls, deployment)
    try:
        head = await nodes.head()
        token = next(iter(deployment.tokens))
        ((decimals,),) = await nodes.read_words([(token, "0x313ce567")], head)
        assert decimals == deployment.tokens[token].decimals
    finally:
        await nodes.close()


async def test_the_url_of_a_node_that_is_not_there_is_told_without_its_key() -> None:
    url = f"http://127.0.0.1:{free_port()}/v2/0123456789abcdef0123"
    with pytest.raises(BadSetting, match=r"no node at http://127.0.0.1:\d+/v2/\*\*\*") as caught:
        await find_deployment(Chain((url,), None, 64))
    assert "0123456789abcdef" not in str(caught.value)
