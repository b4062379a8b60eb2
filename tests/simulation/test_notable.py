"""What seeds once found, as small scripts: these hold also when a seed's draws have moved on."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from itertools import count
from typing import Any
from unittest.mock import patch

import pytest

from indexer import follow as follow_module
from indexer.chain import backfill
from indexer.chain.providers import Providers
from indexer.chain.steps import Follower
from indexer.domain.change import Change
from indexer.domain.events import AnyEvent
from indexer.domain.step import Step
from indexer.ground import follow_whatever_comes
from indexer.mirror.fold import Mirror
from indexer.mirror.memory import Memory
from indexer.mirror.settled import SettledState
from indexer.store import behind, tables, transaction
from indexer.store import past as past_module
from indexer.store.checkpoints import encode_state
from indexer.store.memory import Disk, MemoryDatabase
from indexer.store.page import Page
from indexer.store.past import COMMIT_S, Part, Past
from indexer.store.writer import Store
from tests.simulation import clock, model
from tests.simulation.exchange import DEPLOYMENT, Tx, sign
from tests.simulation.node import FaultyNode, Habits
from tests.simulation.transports import Network
from tests.simulation.weather import DiskFull, Killed, Lost
from tests.simulation.world import Mined, World

URL = "http://node"
WAIT_S = 500.0


class Scripted(FaultyNode):
    """Honest, but for what `before` answers in its place; it may also move the chain."""

    def before(self, method: str, params: list[Any]) -> Any:
        return ...

    def _result(self, method: str, params: list[Any]) -> Any:
        told = self.before(method, params)
        return super()._result(method, params) if told is ... else told


class Stage:
    """A world, one node, and a writer that lives while a `with` lasts."""

    def __init__(self, confirmations: int = 64, checkpoint_events: int = 100_000) -> None:
        self.draw = random.Random(1)
        self.world = World(self.draw, Counter())
        tags = confirmations == 64
        habits = Habits(tags=tags, confirmations=confirmations)
        self.node = Scripted(URL, self.world, random.Random(2), Counter(), habits)
        self.node.rate = self.node._lag = 0.0
        self.node.calm = True
        self.world.heard.append(self.node.catch_up)
        self.disk = Disk()
        self.said: list[str] = []
        self._confirmations = confirmations
        self._checkpoint_events = checkpoint_events
        self._epochs = iter(range(100))

    async def index(self, then: Callable[[], None] = lambda: None) -> None:
        """One life of a writer, until it has reached the head; and the one that `then` makes."""
        network = Network({URL: self.node}, random.Random(3), Counter(), lambda method: None)
        providers = await Providers.open(
            [URL], DEPLOYMENT, self._confirmations, connect=network.connect, random=random.Random(4)
        )
        store = Store(
            MemoryDatabase(self.disk),
            DEPLOYMENT,
            self._checkpoint_events,
            lambda: f"epoch {next(self._epochs)}",
        )
        life = asyncio.create_task(
            follow_whatever_comes(
                store,
                providers,
                lambda canon, mirror: Follower(providers, canon, DEPLOYMENT, mirror.books),
                lambda canon, blocks, events, node_head: None,
                self.said.append,
            )
        )
        try:
            async with asyncio.timeout(WAIT_S):
                for move in (then, lambda: None):
                    while not life.done() and not self._is_level():
                        await asyncio.sleep(0.1)
                    await asyncio.sleep(1.0)  # what is final is asked behind the head
                    move()
            if life.done():
                life.result()
        finally:
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
            await providers.close()

    def _is_level(self) -> bool:
        return bool(
            self.disk.cursor and self.disk.cursor["block_hash"] == self.world.head.block.hash
        )

    async def check(self) -> None:
        """Everything is as if there had been one branch."""
        clean = model.Clean(self.world.branch())
        await clean.live()
        await model.check_tables(self.disk, clean, self.world.branch())
        await model.check_recovery(self.disk)
        model.check_outbox(self.disk)

    def create(self) -> Tx:
        """A market of new tokens, which are other tokens on every branch."""
        tx = sign(self.draw, "create")
        return Tx(tx.hash, tx.kind, tx.who, (0, *tx.dice[1:]))

    def trade(self, blocks: int) -> None:
        for _ in range(blocks):
            self.world.grow(1, [sign(self.draw, "limit") for _ in range(3)])

    def quiet(self, blocks: int) -> Mined:
        """The head of a branch on which nothing happens; nobody follows it yet."""
        quiet = self.world.head
        for _ in range(blocks):
            quiet = self.world.mine(quiet, ())
        return quiet

    def loses(self, number: int, first: int, last: int) -> None:
        """The node answers null for a height, from one time it is asked to another."""
        asked = count(1)

        def before(method: str, params: list[Any]) -> Any:
            if method == "eth_getBlockByNumber" and params[0] == hex(number):
                return None if first <= next(asked) <= last else ...
            return ...

        self.node.before = before  # type: ignore[method-assign]


async def deep() -> Stage:
    """A stage whose writer knows block 18 as final; then the chain forks at block 5."""
    stage = Stage()
    stage.trade(20)
    stage.world.finalize(18)
    await stage.index()
    stage.world.final = stage.world.branch()[0]
    return stage


def simulated(story: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """A story as a test, in virtual time."""

    def test() -> None:
        clock.run(story())

    return test


@simulated
async def test_a_deep_reorg_to_a_head_below_what_was_final_is_taken_back_at_once() -> None:
    stage = await deep()
    stage.world.fork(depth=17, blocks=3)
    began = asyncio.get_running_loop().time()
    await stage.index()
    assert asyncio.get_running_loop().time() - began < 30
    assert "the streams begin a new epoch" in stage.said[-1]
    await stage.check()


@simulated
async def test_a_node_that_is_merely_below_what_was_final_is_waited_for() -> None:
    stage = await deep()
    stage.trade(4)
    stage.node.head = stage.world.branch()[5]
    asyncio.get_running_loop().call_later(200.0, stage.node.catch_up)
    await stage.index()
    assert ["waiting for it" in line for line in stage.said] == [True]
    await stage.check()


@simulated
async def test_a_first_block_that_is_not_found_for_a_moment_ends_nothing() -> None:
    stage = Stage()
    stage.trade(20)
    stage.loses(0, first=1, last=3)
    await stage.index()
    assert "block 0 before start_block, found none" in stage.said[0]
    await stage.check()


@simulated
async def test_a_final_block_that_is_not_found_for_a_moment_ends_nothing() -> None:
    stage = Stage()
    stage.trade(20)
    stage.world.finalize(18)
    stage.loses(18, first=1, last=2)
    await stage.index()
    await stage.check()


@simulated
async def test_an_anchor_that_is_not_found_for_a_moment_is_no_deep_reorg() -> None:
    stage = Stage()
    stage.trade(20)
    stage.world.finalize(18)
    stage.loses(0, first=2, last=2)
    await stage.index()
    await stage.check()


@simulated
async def test_ground_that_is_not_found_for_a_moment_makes_no_other_chain() -> None:
    stage = await deep()
    stage.world.fork(depth=17, blocks=20)
    stage.loses(0, first=1, last=1)
    await stage.index()
    assert "the streams begin a new epoch" in stage.said[-1]
    await stage.check()


@simulated
async def test_a_backfill_does_not_change_branches_on_the_way() -> None:
    stage = Stage(confirmations=3)
    stage.trade(5)
    await stage.index()
    stage.trade(12)
    moves = iter([True])

    def before(method: str, params: list[Any]) -> Any:
        if method == "eth_getLogs" and "fromBlock" in params[0] and next(moves, False):
            stage.world.fork(depth=10, blocks=14)
        return ...

    stage.node.before = before  # type: ignore[method-assign]
    await stage.index()
    assert "another branch" in stage.said[0]
    await stage.check()


@simulated
async def test_no_logs_on_a_branch_that_is_left_are_not_taken_for_none_on_another() -> None:
    stage = Stage(confirmations=3)
    await stage.index()
    quiet = stage.quiet(10)
    stage.trade(10)
    stage.node.head, told = quiet, iter([True])

    def before(method: str, params: list[Any]) -> Any:
        """The node moves to the other branch once it has told the first logs."""
        if method == "eth_getLogs" and "fromBlock" in params[0] and next(told, False):
            asyncio.get_running_loop().call_soon(stage.node.catch_up)
        return ...

    stage.node.before = before  # type: ignore[method-assign]
    with patch.object(backfill, "FIRST_RANGE_BLOCKS", 4):
        await stage.index()
    await stage.check()


@simulated
async def test_a_range_without_logs_is_linked_to_the_ranges_beside_it() -> None:
    stage = Stage(confirmations=3)
    await stage.index()
    quiet = stage.quiet(10)
    stage.world.head = stage.quiet(6)
    stage.trade(6)
    asked = count()

    def before(method: str, params: list[Any]) -> Any:
        """The node is on the other branch while it is asked for the first range."""
        if params[:1] == [hex(6)] and next(asked) == 0:
            stage.node.head = quiet
        if method == "eth_getLogs" and params[0].get("fromBlock") == hex(7):
            stage.node.catch_up()
        return ...

    stage.node.before = before  # type: ignore[method-assign]
    with patch.object(backfill, "FIRST_RANGE_BLOCKS", 4):
        await stage.index()
    await stage.check()
    assert "another branch" in stage.said[0]


@simulated
async def test_a_checkpoint_that_was_not_committed_is_no_ground() -> None:
    stage = await deep()
    store = Store(MemoryDatabase(stage.disk), DEPLOYMENT)
    canon, mirror = await store.load()
    before = await store.grounds()
    assert canon.anchor is not None
    row = encode_state(SettledState(mirror, canon.anchor))

    async def save() -> None:
        async with store.transaction() as transaction:
            await transaction.save(row)
            raise DiskFull

    with pytest.raises(DiskFull):
        await save()
    assert await store.grounds() == before


@simulated
async def test_a_commit_that_failed_is_not_made_again_on_the_way_out() -> None:
    stage = Stage()
    stage.trade(8)
    await stage.index()
    asked: list[str] = []

    async def no_commit(operation: str) -> None:
        asked.append(operation)
        if operation == "commit":
            raise Lost(operation)

    async def finish() -> None:
        canon, mirror = await Store(MemoryDatabase(stage.disk), DEPLOYMENT).load()
        store = Store(MemoryDatabase(stage.disk, no_commit), DEPLOYMENT)
        async with Past(store, Memory(mirror), lambda canon, blocks, events, head: None) as past:
            await past.take(Part(Page(), canon, 8))
            await past.finish()

    with pytest.raises(Lost):
        await finish()
    assert asked[-1] == "commit", "the transaction is over: what follows is in none"


@simulated
async def test_behind_a_part_that_failed_the_past_waits_at_rest() -> None:
    stage = Stage()
    stage.trade(8)
    await stage.index()
    asked = 0

    async def no_logs(operation: str) -> None:
        await asyncio.sleep(1)
        if operation == "append logs":
            raise Lost(operation)

    class Watched(Past):
        async def _next(self) -> Part:
            nonlocal asked
            asked += 1
            assert asked < 10, "asked again and again for a part that nobody has"
            return await super()._next()

    async def wait() -> None:
        canon, mirror = await Store(MemoryDatabase(stage.disk), DEPLOYMENT).load()
        store = Store(MemoryDatabase(stage.disk, no_logs), DEPLOYMENT)
        async with Watched(store, Memory(mirror), lambda canon, blocks, events, head: None) as past:
            await past.take(Part(Page(), canon, 8))
            await asyncio.sleep(2 * COMMIT_S)

    with pytest.raises(Lost):
        await wait()
    assert asked == 2, "one that failed, and one that never came"


@simulated
async def test_a_writer_that_is_killed_in_the_background_is_not_waited_for() -> None:
    """Seed 2847: parts were left in the queue, and the loop waited for them for ever."""
    stage = Stage()
    stage.trade(8)
    await stage.index()

    async def kill(operation: str) -> None:
        await asyncio.sleep(1)
        if operation == "append logs":
            raise Killed

    async def finish() -> None:
        canon, mirror = await Store(MemoryDatabase(stage.disk), DEPLOYMENT).load()
        store = Store(MemoryDatabase(stage.disk, kill), DEPLOYMENT)
        async with Past(store, Memory(mirror), lambda canon, blocks, events, head: None) as past:
            with patch.object(past_module, "PAGE_EVENTS", 0):
                await past.take(Part(Page(), canon, 8))
                await past.take(Part(Page(), canon, 8))
                await past.finish()

    with pytest.raises(Killed):
        await finish()


@simulated
async def test_what_was_folded_of_a_part_that_failed_is_in_no_table() -> None:
    stage = Stage()
    stage.trade(8)
    branch = stage.world.branch()

    whole = follow_module.advance

    def advance(mirror: Mirror, step: Step, events: Sequence[AnyEvent]) -> Change:
        change = whole(mirror, step, events)
        if mirror.head.number == branch[-1].number:
            raise Lost("the fold")
        return change

    async def life() -> None:
        store = Store(MemoryDatabase(stage.disk), DEPLOYMENT)
        await follow_module.follow(
            store, lambda canon, _: model.Winning(branch, canon, one_by_one=True)
        )

    with patch.object(follow_module, "advance", advance), pytest.raises(Lost):
        await life()
    cursor = stage.disk.cursor
    assert cursor is not None
    number = cursor["block_number"]
    kept = branch[: 0 if number is None else number + 1]
    clean = model.Clean(kept)
    await clean.live()
    await model.check_tables(stage.disk, clean, kept)


@simulated
async def test_the_outbox_is_trimmed_without_a_gap_after_a_reorg() -> None:
    stage = Stage()
    stage.trade(12)
    await stage.index()
    stage.world.fork(depth=6, blocks=1)
    await stage.index()
    stage.trade(3)
    with patch.object(transaction, "OUTBOX_KEEP_BLOCKS", 1):
        stage.world.finalize(stage.world.head.number - 1)
        stage.trade(1)
        await stage.index()
    assert stage.disk.rows(tables.outbox)
    await stage.check()


@simulated
async def test_a_start_from_a_checkpoint_makes_each_token_where_it_came_to_be() -> None:
    stage = Stage(checkpoint_events=1)
    stage.trade(8)
    stage.world.finalize(6)
    with patch.object(behind, "LATEST_S", 0.1):
        await stage.index()
    stage.trade(2)
    stage.world.grow(1, [stage.create()])
    await stage.index()
    stage.world.fork(depth=1, blocks=0)
    await stage.index()
    assert stage.disk.rows(tables.checkpoints)
    await stage.check()


@simulated
async def test_behind_a_tokens_address_may_be_another_on_another_branch() -> None:
    stage = Stage()
    stage.trade(3)
    stage.world.grow(1, [stage.create()])
    before = stage.world.head.state.tokens

    def then() -> None:
        stage.world.fork(depth=1, blocks=0)
        stage.world.grow(1, [stage.create()])

    await stage.index(then)
    assert stage.world.head.state.tokens.keys() == before.keys()
    assert stage.world.head.state.tokens != before
    await stage.check()


@simulated
async def test_a_tokens_words_are_not_taken_from_another_branch() -> None:
    stage = Stage()
    stage.trade(3)
    stage.world.grow(1, [stage.create()])
    here, calls = stage.world.head, count()

    def before(method: str, params: list[Any]) -> Any:
        """While a token is asked for, the node is on another branch, and then it is back."""
        if method != "eth_call":
            return ...
        if next(calls) < 3:
            stage.node.head = here.parent
            asyncio.get_running_loop().call_later(0.01, stage.node.catch_up)
            raise LookupError(-32000, "header not found")
        return ...

    stage.node.before = before  # type: ignore[method-assign]
    await stage.index()
    await stage.check()
