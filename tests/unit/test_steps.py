"""From heads to steps: a scripted node, and what the follower makes of it."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest

from indexer.chain import steps as steps_module
from indexer.chain.backfill import with_headers
from indexer.chain.errors import BadAnswer, BlockGone, ReorgTooDeep
from indexer.chain.recording import Recording
from indexer.chain.source import Watch
from indexer.chain.steps import Follower
from indexer.decode import created_markets, select
from indexer.domain.block import Block
from indexer.domain.canon import Canon
from indexer.domain.deployment import Contracts, Deployment
from indexer.domain.log import Log
from indexer.domain.logs import Logs
from indexer.domain.market import Token
from indexer.domain.step import Advance, Finalize, Read, Rollback, Step
from indexer.domain.units import Address, Hash
from indexer.follow import advance, read
from indexer.mirror.fold import Mirror

DEPLOYMENT = Deployment(
    "tidebook", 1, Contracts(Address("0x" + "01" * 20), Address("0x" + "02" * 20)), Address("0x")
)


def block(name: str) -> Block:
    """`block("a3")` is block 3 of branch a; branches grow from a's blocks: `b3` from `a2`."""
    branch, number = name[0], int(name[1:])
    roots = {"a": 0, "b": 3, "c": 5}
    parent = f"{'a' if number - 1 < roots[branch] else branch}{number - 1}"
    return Block(number, Hash(name), Hash(parent), 1_700_000_000 + number)


def blocks_up_to(name: str) -> list[Block]:
    found = [block(name)]
    while found[-1].number:
        found.append(block(found[-1].parent_hash))
    return found[::-1]


class ScriptedNode:
    """Tells one head after another; each is canonical until the next is told."""

    def __init__(self, *heads: str, finalized: str = "a0") -> None:
        self.heads_to_tell = heads
        self.chain: list[Block] = blocks_up_to(heads[0])
        self.known = {b.hash: b for b in self.chain}
        self.final = block(finalized)
        self.safe_height: int | None = None
        self.missing: set[int] = set()
        """Heights that the node answers null for."""
        self.stale = False
        """It announces heads that are long gone by, and knows better when asked."""
        self.gone: set[str] = set()
        """Blocks whose logs are no more: the node has left their branch while we read it."""
        self.asked: list[str] = []
        self.looked_up: list[str] = []
        self.logs: dict[str, list[Log]] = {}
        self.tokens = False
        self.most_at_once = 0

    def _tell(self, head: str) -> None:
        if not self.stale or block(head).number > len(self.chain):
            self.chain = blocks_up_to(head)
        self.known.update((b.hash, b) for b in self.chain)

    async def heads(self) -> AsyncIterator[Block]:
        for head in self.heads_to_tell:
            self._tell(head)
            yield block(head)

    async def head(self) -> Block:
        return self.chain[-1]

    async def safe(self, head: Block) -> Block | None:
        return None if self.safe_height is None else await self.by_number(self.safe_height)

    async def finalized(self, head: Block) -> Block | None:
        return self.final

    async def by_number(self, number: int) -> Block | None:
        return next(iter(await self.by_numbers([number])), None)

    async def by_numbers(self, numbers: Sequence[int]) -> list[Block]:
        self.most_at_once = max(self.most_at_once, len(numbers))
        return [self.chain[n] for n in numbers if n < len(self.chain) and n not in self.missing]

    async def by_hash(self, hash_: Hash) -> Block:
        self.looked_up.append(hash_)
        if hash_ not in self.known:
            raise BlockGone(hash_)
        return self.known[hash_]

    async def logs_of(self, block: Block, watch: Watch) -> list[Log]:
        self.asked.append(block.hash)
        if block.hash in self.gone:
            raise BlockGone(block.hash)
        return self.logs.get(block.hash, [])

    async def blocks_between(self, first: int, last: int, watch: Watch) -> list[Logs]:
        return await with_headers(self, [], first, last)

    async def token(self, address: Address, at: Block) -> Token:
        assert self.tokens, "no market is created here"
        return Token(address, address[:6], address, 6)


def said(step: Step) -> str:
    match step:
        case Advance(block=block, finality=finality):
            return f"{'=' if finality == 'finalized' else '+'}{block.hash}"
        case Read(block=block):
            return f"={block.hash}"
        case Rollback(ancestor=ancestor):
            return f"<{ancestor.hash}"
        case Finalize(block=ref, finality=finality):
            return f"{'!' if finality == 'finalized' else '?'}{ref.hash}"


async def steps(node: ScriptedNode, canon: Canon | None = None) -> str:
    """Everything the follower makes of the node, in words: `+a1 <a0 !a1`."""
    follower = Follower(node, Canon() if canon is None else canon, DEPLOYMENT, ())
    return " ".join([said(step) async for batch in follower.batches() for step in batch])


async def test_a_chain_grows() -> None:
    assert await steps(ScriptedNode("a1", "a2", "a3")) == "=a0 +a1 +a2 +a3"


async def test_the_parent_that_is_our_head_is_not_asked_for() -> None:
    node = ScriptedNode("a1", "a2", "a4", "b5")
    assert await steps(node) == "=a0 +a1 +a2 +a3 +a4 <a2 +b3 +b4 +b5"
    assert node.looked_up == ["b4", "b3"]  # others were known, or told with the gap


async def test_heads_may_be_left_out() -> None:
    assert await steps(ScriptedNode("a1", "a4")) == "=a0 +a1 +a2 +a3 +a4"


async def test_a_block_is_safe_before_it_is_final_and_each_is_said_once() -> None:
    node = ScriptedNode("a1", "a4", "a5", finalized="a1")
    node.safe_height = 3
    assert await steps(node) == "=a0 =a1 +a2 +a3 +a4 ?a3 +a5"


async def test_a_safe_block_may_still_go_and_its_successor_is_safe_anew() -> None:
    node = ScriptedNode("a4", "b5")
    node.safe_height = 4
    assert await steps(node) == "=a0 +a1 +a2 +a3 +a4 ?a4 <a2 +b3 +b4 +b5 ?b4"


async def test_an_old_head_from_below_what_is_final_is_waited_out() -> None:
    canon = Canon(block(f"a{n}") for n in (3, 4))
    node = ScriptedNode("a4", "a2", "a5", finalized="a3")
    node.stale = True
    assert await steps(node, canon) == "+a5"


async def test_a_node_that_has_lost_our_blocks_is_no_deep_reorg() -> None:
    node = ScriptedNode("a5", finalized="a4")
    node.missing = {1, 2}
    canon = Canon([block("a1"), block("a2")])
    with pytest.raises(BadAnswer, match="block 1"):
        await steps(node, canon)


async def test_a_reorg_is_a_rollback_and_the_new_branch() -> None:
    assert await steps(ScriptedNode("a4", "b5")) == "=a0 +a1 +a2 +a3 +a4 <a2 +b3 +b4 +b5"


async def test_a_shorter_branch_wins_as_well() -> None:
    assert await steps(ScriptedNode("a5", "b3")) == "=a0 +a1 +a2 +a3 +a4 +a5 <a2 +b3"


async def test_a_head_that_is_our_ancestor_is_a_rollback_with_no_advance() -> None:
    assert await steps(ScriptedNode("a4", "a2", "a3")) == "=a0 +a1 +a2 +a3 +a4 <a2 +a3"


async def test_back_to_the_first_branch() -> None:
    expected = "=a0 +a1 +a2 +a3 +a4 <a2 +b3 +b4 <a2 +a3 +a4 +a5"
    assert await steps(ScriptedNode("a4", "b4", "a5")) == expected


async def test_the_same_head_twice_is_told_once() -> None:
    assert await steps(ScriptedNode("a2", "a2")) == "=a0 +a1 +a2"


async def test_a_branch_that_goes_away_is_left_where_it_is() -> None:
    node = ScriptedNode("a3", "b5", "c6")
    node.gone = {"b4"}
    # c grows from a4: what was taken of b is rolled back as any branch is
    assert await steps(node) == "=a0 +a1 +a2 +a3 <a2 +b3 <a2 +a3 +a4 +c5 +c6"


async def test_an_unknown_parent_waits_for_the_next_head() -> None:
    node = ScriptedNode("a3", "a9")
    original = node._tell

    def tell(head: str) -> None:
        original(head)
        if head == "a9":
            node.chain = [b for b in node.chain if b.number < 5]
            for lost in ("a5", "a6", "a7", "a8"):
                node.known.pop(Hash(lost), None)

    node._tell = tell  # type: ignore[method-assign]
    assert await steps(node) == "=a0 +a1 +a2 +a3"


async def test_what_is_final_is_settled_once() -> None:
    node = ScriptedNode("a3", "a4", finalized="a0")
    follower = Follower(node, canon := Canon(), DEPLOYMENT, ())
    told = []
    async for batch in follower.batches():
        told += [said(step) for step in batch]
        if canon.head == block("a3"):
            node.final = block("a2")
    assert " ".join(told) == "=a0 +a1 +a2 +a3 !a2 +a4"
    assert canon.anchor == block("a2")


async def test_the_past_is_backfilled_to_the_final_block() -> None:
    assert await steps(ScriptedNode("a6", finalized="a4")) == "=a0 =a4 +a5 +a6"


async def test_a_start_settles_what_became_final_meanwhile() -> None:
    canon = Canon(blocks_up_to("a3"))
    assert await steps(ScriptedNode("a6", finalized="a5"), canon) == "!a3 =a5 +a6"


async def test_a_long_unfinal_past_is_asked_about_in_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(steps_module, "HEADERS_AT_ONCE", 2)
    node = ScriptedNode("a8", finalized="a7")
    assert await steps(node, Canon(blocks_up_to("a5"))) == "!a5 =a7 +a8"
    assert node.most_at_once == 2


async def test_logs_before_a_markets_creation_are_not_ours(recordings: Path) -> None:
    recording = Recording(recordings / "gtx_main.jsonl.gz")
    recorded = next(b for b in recording.blocks() if created_markets(b.logs, recording.deployment))
    mirror = Mirror(recording.deployment)
    ((step, _),) = read(mirror, [Advance(recorded.block, tuple(recorded.logs))])
    assert isinstance(step, Advance)
    # the follower has seen the creation by then, and asks for all of the new book's logs
    assert list(step.logs) == select(recorded.logs, recording.deployment, ())
    assert len(step.logs) < len(
        select(
            recorded.logs,
            recording.deployment,
            created_markets(recorded.logs, recording.deployment),
        )
    )


async def test_a_start_rolls_back_what_was_retracted_meanwhile() -> None:
    canon = Canon(blocks_up_to("a4"))
    assert await steps(ScriptedNode("b7", finalized="b6"), canon) == "<a2 !a2 =b6 +b7"


async def test_nothing_goes_back_below_what_was_final() -> None:
    canon = Canon(blocks_up_to("a5")[4:])
    with pytest.raises(ReorgTooDeep, match="was final"):
        await steps(ScriptedNode("b7"), canon)


async def test_a_market_that_a_reorg_takes_back_can_come_again(recordings: Path) -> None:
    recording = Recording(recordings / "gtx_main.jsonl.gz")
    created = next(
        b.logs for b in recording.blocks() if created_markets(b.logs, recording.deployment)
    )
    node = ScriptedNode("a4", "b5")
    node.logs = {
        name: [msgspec.structs.replace(log, block_hash=Hash(name)) for log in created]
        for name in ("a3", "b4")
    }
    node.tokens = True
    mirror = Mirror(msgspec.structs.replace(recording.deployment, tokens={}))
    follower = Follower(node, Canon(), mirror.deployment, mirror.books)
    async for batch in follower.batches():
        for step in batch:
            advance(mirror, *read(mirror, [step])[0])
    assert [market.created_block for market in mirror.markets.rows.values()] == [4] * len(
        mirror.markets.rows
    )
    assert mirror.markets.rows


async def test_logs_are_asked_for_by_hash() -> None:
    node = ScriptedNode("a2", "b4")
    await steps(node)
    assert node.asked == ["a1", "a2", "b3", "b4"]
