"""Several nodes as one: who is followed, who is not believed, and when there is nobody left."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from indexer.chain import health as health_module
from indexer.chain.errors import BadAnswer, BlockGone, RpcError, Unreachable, WrongNode
from indexer.chain.health import Health
from indexer.chain.providers import HELD_BACK_S, Providers
from indexer.chain.roster import NONE_LEFT_S
from indexer.chain.rpc import Busy, Transport
from indexer.chain.source import Watch
from indexer.chain.steps import Follower
from indexer.domain.canon import Canon
from indexer.domain.step import Advance, Finalize, Rollback
from tests.unit.scripted import DEPLOYMENT, OURS, Chain, Peer, Refused, play

KEY = "v2/0123456789abcdef0123"


def watch() -> Watch:
    return Watch(DEPLOYMENT, ())


@asynccontextmanager
async def over(*peers: Peer, said: list[str] | None = None) -> AsyncIterator[Providers]:
    """Providers `http://0`, `http://1`, … over these nodes."""

    async def connect(url: str) -> Transport:
        return peers[int(url[7])]

    providers = await Providers.open(
        [f"http://{at}/{KEY}" for at in range(len(peers))],
        DEPLOYMENT,
        connect=connect,
        random=Random(1),
        tell=(lambda line: None) if said is None else said.append,
    )
    try:
        yield providers
    finally:
        await providers.close()


def dead(method: str, params: Any) -> Any:
    raise ConnectionResetError("connection refused")


def lying(method: str, params: Any) -> Any:
    return [] if method in ("eth_getLogs", "eth_getBlockReceipts") else None


def refusing(method: str, params: Any) -> Any:
    if method == "eth_getLogs":
        raise Refused(-32000, "needs a paid plan")


def states(providers: Providers) -> list[str]:
    return [one.state for one in providers.roster.report()]


def logs_chain() -> Chain:
    chain = Chain()
    chain.grow("a9", on="a8", logs=[OURS, OURS])
    return chain


@pytest.mark.parametrize(
    ("trouble", "state"), [(dead, "down"), (lying, "quarantined"), (refusing, "ok")]
)
def test_what_one_fails_to_tell_another_does(trouble: Callable[..., Any], state: str) -> None:
    chain = logs_chain()
    bad, good = Peer(chain, "a9"), Peer(chain, "a9")

    async def story() -> None:
        async with over(bad, good) as providers:
            head = await providers.head()
            bad.before = trouble
            assert len(await providers.logs_of(head, watch())) == 2
            assert states(providers) == [state, "ok"]

    play(story())


def test_a_quarantine_doubles_has_a_limit_and_is_forgiven() -> None:
    health, pauses, now = Health(), [], 1_000.0
    for _ in range(9):
        health.failed(BadAnswer("x", "y", "z"), now)
        pauses.append(health.until - now)
    assert pauses == [5, 10, 20, 40, 80, 160, 320, 600, 600]
    health.failed(BadAnswer("x", "y", "z"), now + health_module.FORGIVEN_S + 1)
    assert health.until - now - health_module.FORGIVEN_S - 1 == 5


def test_the_process_ends_when_nobody_was_usable_for_a_named_time() -> None:
    one, two = Peer(Chain()), Peer(Chain())

    async def story() -> float:
        async with over(one, two) as providers:
            one.before = two.before = dead
            began = asyncio.get_running_loop().time()
            with pytest.raises(Unreachable, match=r"no usable answer from http://[01]"):
                await providers.head()
            return asyncio.get_running_loop().time() - began

    assert NONE_LEFT_S <= play(story()) < NONE_LEFT_S + 10


def test_a_node_that_comes_back_in_time_is_asked_again() -> None:
    peer = Peer(Chain())
    said: list[str] = []

    async def story() -> None:
        async with over(peer, said=said) as providers:
            peer.before = dead
            asking = asyncio.create_task(providers.head())
            await asyncio.sleep(NONE_LEFT_S / 2)
            peer.before = lambda method, params: None
            assert (await asking).number == 8

    play(story())
    assert len(said) == 2, "each change of state is told once"
    assert "is down for 1 s: no usable answer" in said[0]
    assert said[1].endswith("is asked again")
    assert KEY[3:] not in "".join(said)


def test_a_single_liar_is_waited_for_in_doubled_pauses_and_ends_the_process_if_it_insists() -> None:
    peer = Peer(logs_chain(), "a9")
    said: list[str] = []

    async def story() -> None:
        async with over(peer, said=said) as providers:
            head = await providers.head()
            peer.before = lying
            await providers.logs_of(head, watch())

    with pytest.raises(BadAnswer, match="logs are missing"):
        play(story())
    pauses = [float(line.split(" for ")[1].split()[0]) for line in said if "quarantined" in line]
    assert pauses == [5, 10, 20, 40]


def test_a_provider_of_another_chain_is_left_out_and_told_of() -> None:
    said: list[str] = []

    async def story() -> None:
        async with over(Peer(Chain(), chain_id=1), Peer(Chain()), said=said) as providers:
            assert states(providers) == ["excluded", "ok"]
            assert (await providers.head()).number == 8

    play(story())
    assert "follows chain 1, the deployment says chain_id 31337" in said[0]


def test_a_start_with_no_provider_at_all_fails_at_once_with_one_error() -> None:
    said: list[str] = []

    async def story(peer: Peer) -> None:
        async with over(peer, said=said):
            pass

    with pytest.raises(WrongNode):
        play(story(Peer(Chain(), chain_id=1)))
    peer = Peer(Chain())
    peer.before = dead
    with pytest.raises(Unreachable, match="connection refused"):
        play(story(peer))
    assert said == [], "the error says it"


def test_what_everybody_refuses_is_refused() -> None:
    one, two = Peer(logs_chain(), "a9"), Peer(logs_chain(), "a9")
    one.before = two.before = refusing

    async def story() -> None:
        async with over(one, two) as providers:
            await providers.logs_of(one.chain["a9"], watch())

    with pytest.raises(RpcError, match="needs a paid plan"):
        play(story())


async def heads_until(providers: Providers, last: int, found: list[str]) -> None:
    async for head in providers.heads():
        found.append(head.hash)
        if head.number >= last:
            return


def test_heads_go_on_with_another_and_not_backwards() -> None:
    chain = Chain()
    one, two = Peer(chain, "a7"), Peer(chain, "a5")
    found: list[str] = []

    async def story() -> None:
        async with over(one, two) as providers:
            telling = asyncio.create_task(heads_until(providers, 8, found))
            await asyncio.sleep(1)
            one.before = dead
            await asyncio.sleep(HELD_BACK_S / 2)
            two.head = "a8"
            await telling

    play(story())
    assert found == [chain["a7"].hash, chain["a8"].hash]


def test_a_new_leader_that_stays_behind_is_believed_in_the_end() -> None:
    chain = Chain()
    one, two = Peer(chain, "a7"), Peer(chain, "a5")
    found: list[str] = []

    async def story() -> None:
        async with over(one, two) as providers:
            telling = asyncio.create_task(heads_until(providers, 99, found))
            await asyncio.sleep(1)
            one.before = dead
            await asyncio.sleep(3 * HELD_BACK_S)
            telling.cancel()

    play(story())
    assert list(dict.fromkeys(found)) == [chain["a7"].hash, chain["a5"].hash]


def test_a_leader_that_stands_still_is_left() -> None:
    chain = Chain()
    one, two = Peer(chain, "a2"), Peer(chain, "a2")
    found: list[str] = []

    async def story() -> None:
        async with over(one, two) as providers:
            telling = asyncio.create_task(heads_until(providers, 8, found))
            await asyncio.sleep(1)
            two.head = "a8"
            await telling

    play(story())
    assert found == [chain["a2"].hash, chain["a8"].hash]


def test_a_head_from_nowhere_makes_nobody_look_late() -> None:
    chain = Chain()
    one, two = Peer(chain), Peer(chain)

    async def story() -> None:
        async with over(one, two) as providers:
            telling = asyncio.create_task(heads_until(providers, 99, []))
            await asyncio.sleep(1)
            two.before = lambda method, params: (
                two.header(chain["a8"]) | {"number": "0xffffff", "hash": "0x" + "ff" * 32}
                if params == ["latest", False]
                else None
            )
            await asyncio.sleep(20)
            roster = providers.roster
            assert roster.leader is roster.providers[0]
            telling.cancel()

    play(story())


def test_a_leader_that_has_another_block_where_ours_is_final_is_not_followed() -> None:
    ours, other = Chain(), Chain(3)
    for number in range(4, 16):
        other.grow(f"b{number}", on="a3" if number == 4 else f"b{number - 1}")
    one, two = Peer(ours), Peer(other, "b15")
    one.final = "a6"
    found: list[str] = []

    async def story() -> None:
        async with over(one, two) as providers:
            telling = asyncio.create_task(heads_until(providers, 99, found))
            await asyncio.sleep(1)
            await providers.finalized(await providers.head())
            await asyncio.sleep(30)
            assert providers.roster.report()[1].faults["lie"] >= 1
            telling.cancel()

    play(story())
    assert set(found) == {ours["a8"].hash}


def test_two_branches_are_never_mixed_in_one_batch() -> None:
    chain = Chain(4)
    for branch in "ab":
        for number in range(5, 10):
            on = "a4" if number == 5 else f"{branch}{number - 1}"
            chain.grow(f"{branch}{number}", on=on, logs=[OURS])
    one, two = Peer(chain, "a4"), Peer(chain, "b8")
    one.final = two.final = "a1"
    batches: list[Any] = []

    async def story() -> None:
        async with over(one, two) as providers:
            follower = Follower(providers, Canon(), DEPLOYMENT, ())

            async def follow() -> None:
                async for batch in follower.batches():
                    batches.append(batch)

            following = asyncio.create_task(follow())
            for number in range(5, 10):
                await asyncio.sleep(2)
                one.head = f"a{number}"
            one.before = dead
            two.head = "b9"
            await asyncio.sleep(30)
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    play(story())
    head = None
    for batch in batches:
        for step in batch:
            if isinstance(step, Rollback):
                head = step.ancestor.hash
            elif isinstance(step, Advance):
                assert head in (None, step.block.parent_hash), "a step that does not fit"
                head = step.block.hash
    assert head == chain["b9"].hash


def test_the_leaders_word_that_a_block_is_gone_stands() -> None:
    chain = logs_chain()
    chain.grow("b9", on="a8")
    one, two = Peer(chain, "b9"), Peer(chain, "a9")

    async def story() -> None:
        async with over(one, two) as providers:
            await providers.head()
            with pytest.raises(BlockGone):
                await providers.by_hash(chain["a9"].hash)
            assert two.asked["eth_getBlockByHash"] == 0

    play(story())


def test_the_report_names_everything_but_secrets() -> None:
    chain = logs_chain()
    bad, good = Peer(chain, "a9"), Peer(chain, "a9")

    async def story() -> None:
        async with over(bad, good) as providers:
            telling = asyncio.create_task(heads_until(providers, 99, []))
            await asyncio.sleep(6)
            bad.before = lying
            await providers.logs_of(chain["a9"], watch())
            good.before = lambda method, params: throttled()
            with pytest.raises(Unreachable):
                await providers.roster.providers[1].connection.head()
            first, second = providers.roster.report()
            telling.cancel()
        assert (first.url, first.state, first.score) == ("http://0/v2/***", "quarantined", 0)
        assert first.faults == {"lie": 1}
        assert "logs are missing" in (first.last_fault or "")
        assert (second.state, second.head, second.faults) == ("ok", 9, {"busy": 3})
        assert 50 < second.score <= 100
        assert second.last_fault == "HTTP 429"

    def throttled() -> Any:
        raise Busy("HTTP 429")

    play(story())


def test_reports_come_with_every_change_of_state() -> None:
    peer = Peer(Chain())

    async def story() -> None:
        async with over(peer) as providers:
            reports = providers.roster.reports()
            assert (await anext(reports))[0].state == "ok"
            peer.before = dead
            asking = asyncio.create_task(providers.head())
            assert (await anext(reports))[0].state == "down"
            peer.before = lambda method, params: None
            assert (await anext(reports))[0].state == "ok"
            await asking

    play(story())


def test_a_node_whose_past_contradicts_itself_is_quarantined_and_another_tells_it() -> None:
    chain = logs_chain()
    one, two = Peer(chain, "a9"), Peer(chain, "a9")

    def torn(method: str, params: Any) -> Any:
        """Logs of blocks that its own headers do not know."""
        if method == "eth_getLogs" and "fromBlock" in params[0]:
            wrong = "0x" + "77" * 32
            return [{**log, "blockHash": wrong} for log in two.answer(method, params)]
        return None

    one.before = torn

    async def story() -> list[int]:
        async with over(one, two) as providers:
            found = await providers.blocks_between(1, 9, watch())
            assert states(providers) == ["quarantined", "ok"]
            return [len(logs) for logs in found]

    assert play(story()) == [0, 2], "the first block of a range tells where it belongs"


def test_what_becomes_final_while_the_head_stands_still_is_told() -> None:
    peer = Peer(Chain())

    async def story() -> None:
        async with over(peer) as providers:
            follower = Follower(providers, Canon(), DEPLOYMENT, ())
            async with asyncio.timeout(120):
                async for batch in follower.batches():
                    if not batch:
                        continue  # the past has ended
                    assert isinstance(batch[-1], Advance | Finalize)
                    peer.final = "a5" if batch[-1].block.number == 8 else peer.final
                    if Finalize(peer.chain["a5"].ref) in batch:
                        return

    play(story())
