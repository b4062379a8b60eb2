"""Forgetting changes nothing: a mirror that keeps only what it must folds as one that keeps all."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import example, given, seed, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from indexer.domain import events as ev
from indexer.domain.block import Block
from indexer.domain.change import Applied, Change, Delta, Deltas, Rewound
from indexer.domain.deployment import Contracts, Deployment
from indexer.domain.market import Token
from indexer.domain.order import Order
from indexer.domain.units import Address, Hash, Price, Quantity
from indexer.mirror.errors import FoldError
from indexer.mirror.fold import Mirror
from indexer.mirror.memory import Memory, OrderKey
from tests.model.recorded import GENESIS, NAMES, recorded

SEED = 6


class Forgetful:
    """A mirror that forgets after every block what it may, and the store that it asks."""

    def __init__(self, deployment: Deployment) -> None:
        self.mirror = Mirror(deployment)
        self.memory = Memory(self.mirror)
        self.stored: dict[OrderKey, Order] = {}
        self.recalled = 0
        self.kept = 0
        """Most orders that it ever held."""

    def apply(self, block: Block, events: list[ev.AnyEvent], tokens: list[Token]) -> Applied:
        taken, missing = self.memory.recall(events, self.stored)
        self.recalled += len(taken)
        assert not missing & self.stored.keys()
        applied = self.mirror.apply(block, events, tokens)
        self._commit(applied, applied.deltas)
        return applied

    def rewind(self, ancestor: Block) -> Rewound:
        rewound = self.mirror.rewind(ancestor)
        for applied in rewound.retracted:
            self._commit(rewound, applied.deltas.inverse())
        return rewound

    def settle(self, block: Block) -> None:
        self.mirror.settle(block.ref)
        self.memory.forget(block)
        held = (len(book.orders.rows) for book in self.mirror.books.values())
        self.kept = max(self.kept, sum(held))
        if block == self.mirror.head:
            self._must_be_lean()

    def _must_be_lean(self) -> None:
        """No order is held but for one of the reasons."""
        for book in self.mirror.books.values():
            queued = {order.order_id for order in book.orders.rows.values() if order.queued}
            named = {book.orders.rows[order_id].prev for order_id in queued}
            named |= {level.tail for level in book.levels.rows.values()}
            assert book.orders.rows.keys() <= queued | named | {1, book.newest}

    def restart(self) -> None:
        """A new process: its mirror has what a start reads, and what a block asks for."""
        before, self.mirror = self.mirror, Mirror(self.mirror.deployment, self.mirror.head)
        books = before.books
        kept: dict[str, Iterable[Any]] = {
            "tokens": before.tokens.rows.values(),
            "markets": before.markets.rows.values(),
            "orders": (
                order
                for order in self.stored.values()
                if order.queued or order.order_id in (1, books[order.market].newest)
            ),
            "levels": (level for book in books.values() for level in book.levels.rows.values()),
            "balances": before.ledger.balances.rows.values(),
            "candles": before.candles.rows.values(),
        }
        images = {kind: tuple(Delta(None, row) for row in rows) for kind, rows in kept.items()}
        self.mirror.put(Deltas(**images))
        self.mirror.journal = before.journal
        self.memory = Memory(self.mirror)

    def _commit(self, change: Change, deltas: Deltas) -> None:
        self.memory.note(change)
        for delta in deltas.orders:
            key = delta.record.market, delta.record.order_id
            if delta.after is None:
                del self.stored[key]
            else:
                self.stored[key] = delta.after


@pytest.mark.parametrize("name", NAMES)
def test_a_recording_folds_alike_with_every_block_final(name: str) -> None:
    deployment, tokens, blocks = recorded(name)
    whole, forgetful = Mirror(deployment), Forgetful(deployment)
    for block, events in blocks:
        assert forgetful.apply(block, events, tokens) == whole.apply(block, events, tokens)
        forgetful.settle(block)
    assert forgetful.stored == orders(whole)
    assert forgetful.kept < len(forgetful.stored) / 6
    assert bool(forgetful.recalled) == (name == "gtx_chaos"), "who cancels filled orders"


# -- any events whatever ---------------------------------------------------------------------------

MARKET, BASE, QUOTE = (Address("0x" + f"{n:02x}" * 20) for n in (1, 2, 3))
TOKENS = [Token(BASE, "B", "Base", 0), Token(QUOTE, "Q", "Quote", 0)]
ACTS = st.lists(
    st.tuples(
        st.sampled_from(
            3 * ("place",)
            + 2 * ("trade", "cancel", "mine", "settle")
            + ("expire", "buy", "rewind", "restart")
        ),
        st.integers(0, 7),
        st.integers(1, 3),
        st.integers(1, 2),
    ),
    min_size=30,
    max_size=90,
)


class Chain:
    """A chain whose contract emits what it is told to, possible or not."""

    def __init__(self) -> None:
        self.events: list[ev.AnyEvent] = []
        self.blocks = [GENESIS]
        self.placed = [0]
        """Orders up to each block."""
        self.orders = 0

    def say(self, act: Any, which: int, price: int, quantity: int) -> None:
        here = Hash(f"0x{len(self.blocks)}"), len(self.events), MARKET
        order_id = max(1, self.orders - which)
        match act:
            case "place" | "buy":
                self.orders += 1
                self.events.append(
                    ev.OrderPlaced(
                        *here,
                        self.orders,
                        (BASE, QUOTE)[which % 2],
                        "buy" if which < 4 else "sell",
                        Price(price),
                        Quantity(quantity),
                        10**6 if which else 0,
                        "limit" if act == "place" else "market",
                        "open",
                    )
                )
            case "trade":
                self.events.append(
                    ev.Traded(
                        *here, BASE, self.orders, order_id, "buy", 0, Price(price), Quantity(1)
                    )
                )
            case "cancel":
                self.events.append(ev.OrderCancelled(*here, order_id, BASE, 0, "cancelled"))
            case "expire":
                self.events.append(ev.StatusAsserted(*here, order_id, 0, Quantity(0), "expired"))
            case _:
                pass  # nothing to settle, or to take back

    def mine(self) -> tuple[Block, list[ev.AnyEvent]]:
        events, self.events = self.events, []
        number, parent = self.blocks[-1].number + 1, self.blocks[-1].hash
        if not number:
            created = ev.MarketCreated(Hash("0x"), 0, MARKET, Hash("0x"), MARKET, BASE, QUOTE)
            events = [created]
        self.blocks.append(Block(number, Hash(f"{parent}{number}"), parent, 7 * number))
        self.placed.append(self.orders)
        return self.blocks[-1], events

    def back(self, blocks: int) -> Block:
        del self.blocks[-blocks:], self.placed[-blocks:]
        self.orders = self.placed[-1]
        return self.blocks[-1]


A_TAIL_THAT_IS_GONE = [
    *[("place", 1, 1, 1)] * 3,
    *[("cancel", which, 1, 1) for which in (0, 1, 0)],
    *[("mine", 0, 1, 1), ("settle", 0, 1, 1), ("restart", 0, 1, 1), ("place", 1, 1, 1)],
]
"""The third order is cancelled, then the second, then the third again: that one's stale pointer
makes the second the tail, and the next order is appended to it."""


@pytest.mark.parametrize("protocol", ["gtx", "scalex", "tidebook"])
@example(acts=A_TAIL_THAT_IS_GONE)
@seed(SEED)
@settings(max_examples=150, deadline=None)
@given(acts=ACTS)
def test_any_events_fold_alike_over_reorgs_and_restarts(protocol: Any, acts: Any) -> None:
    deployment = Deployment(protocol, 1, Contracts(MARKET, MARKET), MARKET)
    whole, forgetful, chain = Mirror(deployment), Forgetful(deployment), Chain()
    final = GENESIS
    for act in (("mine", 0, 0, 0), *acts, ("mine", 0, 0, 0)):
        above = chain.blocks[-1].number - max(final.number, 0)
        match act:
            case ("mine", *_):
                block, events = chain.mine()
                try:
                    applied = whole.apply(block, events, TOKENS)
                except FoldError:
                    with pytest.raises(FoldError):
                        forgetful.apply(block, events, TOKENS)
                    return
                assert forgetful.apply(block, events, TOKENS) == applied
            case ("rewind", which, *_) if above:
                chain.events = []
                ancestor = chain.back(min(above, which + 1))
                assert forgetful.rewind(ancestor) == whole.rewind(ancestor)
            case ("settle", which, *_) if above:
                final = chain.blocks[-1 - min(above, which)]
                whole.settle(final.ref)
                forgetful.settle(final)
            case ("restart", *_):
                forgetful.restart()
            case _:
                chain.say(*act)
        assert forgetful.stored == orders(whole)


CHANGED_SINCE_IT_WAS_SAVED = [
    *[*[("place", 1, 1, 1)] * 3, ("cancel", 1, 1, 1), ("mine", 0, 1, 1), ("settle", 0, 1, 1)],
    *[("trade", 1, 1, 1), ("mine", 0, 1, 1), ("restart", 0, 1, 1), ("trade", 1, 1, 1)],
]
"""Saved as cancelled, filled once, known to be saved, filled again: neither fill is lost."""


@pytest.mark.parametrize("protocol", ["gtx", "scalex", "tidebook"])
@example(acts=CHANGED_SINCE_IT_WAS_SAVED)
@seed(SEED)
@settings(max_examples=50, deadline=None)
@given(acts=ACTS)
def test_any_past_folds_alike_while_what_came_before_is_saved(protocol: Any, acts: Any) -> None:
    """Final blocks are saved some at a time (`settle`), and known to be so later (`restart`)."""
    deployment = Deployment(protocol, 1, Contracts(MARKET, MARKET), MARKET)
    whole, mirror, chain = Mirror(deployment), Mirror(deployment), Chain()
    memory = Memory(mirror)
    stored: dict[OrderKey, Order] = {}
    saved = GENESIS
    for act in (("mine", 0, 0, 0), *acts, ("mine", 0, 0, 0), ("settle", 0, 0, 0)):
        match act:
            case ("mine", *_):
                block, events = chain.mine()
                _, missing = memory.recall(events, stored)
                assert not missing & stored.keys()
                try:
                    applied = whole.apply(block, events, TOKENS, final=True)
                except FoldError:
                    return
                assert mirror.apply(block, events, TOKENS, final=True) == applied
                memory.note(applied)
            case ("settle", *_):
                unsaved = memory.take_unsaved()
                stored |= {(o.market, o.order_id): replace(o) for o in unsaved.records["orders"]}
                assert stored == orders(whole)
                saved = chain.blocks[-1]
            case ("restart", *_):
                memory.forget(saved)
            case ("rewind", *_):
                pass
            case _:
                chain.say(*act)


def orders(mirror: Mirror) -> dict[OrderKey, Order]:
    books = mirror.books.values()
    return {(o.market, o.order_id): o for book in books for o in book.orders.rows.values()}
