"""A state read slice by slice is the state at its block, whatever the mirror does meanwhile."""

import random
from typing import Any
from unittest.mock import patch

import pytest
from msgspec.structs import replace

from indexer.domain.block import Block
from indexer.domain.order import CANDLE_SECONDS
from indexer.mirror import settled
from indexer.mirror.fold import Mirror
from indexer.mirror.settled import KEYS, SettledState
from tests.model.recorded import recorded
from tests.model.test_memory import Forgetful

SEED = 31
BLOCKS = 500
SLICE = 25

State = dict[str, dict[Any, Any]]


def copied(mirror: Mirror) -> State:
    """All that a mirror holds, by kind and key."""
    books = mirror.books.values()
    kinds: dict[str, list[Any]] = {
        "tokens": [*mirror.tokens.rows.values()],
        "markets": [*mirror.markets.rows.values()],
        "orders": [order for book in books for order in book.orders.rows.values()],
        "levels": [level for book in books for level in book.levels.rows.values()],
        "balances": [*mirror.ledger.balances.rows.values()],
        "candles": [*mirror.candles.rows.values()],
    }
    return {kind: {KEYS[kind](one): replace(one) for one in kinds[kind]} for kind in KEYS}


class Witness:
    """A mirror that forgets and is rewound, and another that knows only final blocks."""

    def __init__(self, name: str, draw: random.Random) -> None:
        deployment, self.tokens, self.blocks = recorded(name)
        self.draw = draw
        self.tested, self.whole = Forgetful(deployment), Mirror(deployment)
        self.applied = self.final = 0
        """Blocks so far."""

    def apply(self) -> None:
        block, events = self.blocks[self.applied]
        self.tested.apply(block, events, self.tokens)
        self.applied += 1

    def fork(self) -> None:
        """A branch on which nothing happens, or only what happened here, comes and goes."""
        self.applied = self.draw.randint(self.final, self.applied)
        ancestor, _ = self.blocks[self.applied - 1]
        self.tested.rewind(ancestor)
        if self.applied < len(self.blocks) and self.draw.random() < 0.5:
            block, events = self.blocks[self.applied]
            self.tested.apply(replace(block, hash="other"), events[:1], self.tokens)
            self.tested.rewind(ancestor)

    def settle(self) -> None:
        to = self.draw.randint(self.final, self.applied)
        for block, events in self.blocks[self.final : to]:
            self.whole.apply(block, events, self.tokens)
            self.whole.settle(block.ref)
        self.final = to
        self.tested.mirror.settle(self.block.ref)
        self.tested.memory.forget(self.block)

    @property
    def block(self) -> Block:
        """The newest final one."""
        return self.blocks[self.final - 1][0]

    def expected(self) -> State:
        """The state at the newest final block, without the orders that were forgotten."""
        state = copied(self.whole)
        held = {
            (address, order_id)
            for address, book in self.tested.mirror.books.items()
            for order_id in book.orders.rows
        }
        state["orders"] = {key: one for key, one in state["orders"].items() if key in held}
        minute = self.block.timestamp // CANDLE_SECONDS * CANDLE_SECONDS
        candles = state["candles"].items()
        state["candles"] = {key: one for key, one in candles if one.open_time >= minute}
        return state


@pytest.mark.parametrize("name", ["gtx_chaos", "scalex_main"])
def test_what_is_read_between_blocks_and_rollbacks_is_the_state_at_one(name: str) -> None:
    draw = random.Random(SEED)
    told = Witness(name, draw)
    told.apply()
    told.settle()
    compared = 0
    with patch.object(settled, "SLICE_RECORDS", SLICE):
        while told.applied < min(BLOCKS, len(told.blocks)):
            if not told.final:
                told.settle()
                continue
            expected = told.expected()
            found: State = {kind: {} for kind in KEYS}
            for kind, records in SettledState(told.tested.mirror, told.block).slices():
                for record in records:
                    key = KEYS[kind](record)
                    assert key not in found[kind], f"seed {SEED}: {key} twice"
                    found[kind][key] = replace(record)
                for _ in range(draw.choice((0, 0, 1, 3))):
                    if told.applied < len(told.blocks):
                        draw.choice((told.apply, told.apply, told.apply, told.fork, told.settle))()
            for kind, records_at in expected.items():
                assert found[kind] == records_at, f"seed {SEED}: {kind} at {told.block}"
            assert told.tested.mirror.since is None, "nobody reads any more"
            compared += 1
    assert compared > 5


def test_a_final_block_and_a_second_reader_end_the_first() -> None:
    deployment, tokens, blocks = recorded("scalex_main")
    mirror = Mirror(deployment)
    for block, events in blocks[:60]:
        mirror.apply(block, events, tokens)
        mirror.settle(block.ref)
    first = SettledState(mirror, mirror.head)
    assert not first.is_lost
    second = SettledState(mirror, mirror.head)
    assert first.is_lost
    assert not second.is_lost
    block, events = blocks[60]
    mirror.apply(block, events, tokens, final=True)
    assert second.is_lost
    with pytest.raises(AssertionError, match="read too late"):
        list(second.slices())
