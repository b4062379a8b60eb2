"""Faults at the rules' edges, planted into recordings: the last second, a purse, a new rate."""

from dataclasses import dataclass

from msgspec.structs import replace

from indexer.domain import events as ev
from indexer.domain.block import Block
from indexer.domain.divergence import Divergence
from indexer.domain.units import Amount
from indexer.mirror.fold import Mirror
from tests.model.recorded import fold, recorded

RATE_PER_MILLE = 7
"""Not the recordings' own."""


@dataclass(frozen=True)
class Found:
    """A block, the event in it that a fault is planted at, and the mirror before the block."""

    mirror: Mirror
    block: Block
    events: list[ev.AnyEvent]
    at: int

    def apply(self, block: Block, events: list[ev.AnyEvent]) -> list[Divergence]:
        return list(self.mirror.apply(block, events).divergences)


def first_expiry_alone() -> Found:
    """The first block whose only expired order is met by a taker."""
    deployment, tokens, blocks = recorded("scalex_expiry")
    mirror = Mirror(deployment)
    for block, events in blocks:
        gone = [
            i
            for i, event in enumerate(events)
            if isinstance(event, ev.StatusAsserted)
            and event.status == "expired"
            and (order := mirror.books[event.address].orders.get(event.order_id)) is not None
            and order.type == "limit"
        ]
        if len(gone) == 1:
            return Found(mirror, block, events, gone[0])
        mirror.apply(block, events, tokens)
    raise AssertionError("nothing expires alone")


def at_second(after_expiry_s: int) -> list[Divergence]:
    found = first_expiry_alone()
    event = found.events[found.at]
    assert isinstance(event, ev.StatusAsserted)
    order = found.mirror.books[event.address].orders.rows[event.order_id]
    return found.apply(replace(found.block, timestamp=order.expiry + after_expiry_s), found.events)


def test_an_order_that_leaves_at_its_last_second_leaves_one_too_early() -> None:
    assert at_second(1) == []
    early = at_second(0)
    assert early, "the order still trades at the second of its expiry"
    assert early[0].kind == "unexpected_expiry"


def test_a_market_buy_without_the_funds_it_spent_is_unexpected() -> None:
    deployment, tokens, blocks = recorded("scalex_main")
    mirror = Mirror(deployment)
    for block, events in blocks:
        for at, event in enumerate(events):
            if (
                isinstance(event, ev.OrderPlaced)
                and (event.type, event.side) == ("market", "buy")
                and any(isinstance(e, ev.Traded) and e.tx == event.tx for e in events)
                and not any(e.tx == event.tx for e in events[:at])
                and at == 0
            ):
                quote = mirror.markets.rows[event.address].quote
                held = mirror.ledger.available(event.account, quote)
                manager = deployment.contracts.balance_manager
                lock = ev.Locked(
                    event.tx, event.log_index, manager, event.account, quote, Amount(held)
                )
                divergences = mirror.apply(block, [lock, *events], tokens).divergences
                assert divergences[0].kind == "unexpected_fill"
                assert divergences[0].order_id == event.order_id
                return
        mirror.apply(block, events, tokens)
    raise AssertionError("no market buy begins a block")


def test_a_rate_that_changes_in_mid_run_is_learnt_and_no_fill_is_doubted() -> None:
    _, _, blocks = recorded("gtx_main")
    middle = len(blocks) // 2
    told = [
        (block, [_dearer(event) for event in events] if at >= middle else events)
        for at, (block, events) in enumerate(blocks)
    ]
    mirror, applied = fold("gtx_main", told)
    assert not [d for one in applied for d in one.divergences]
    for market in mirror.markets.rows.values():
        rates = market.maker_fee_per_mille, market.taker_fee_per_mille
        assert rates == (RATE_PER_MILLE, RATE_PER_MILLE)


def _dearer(event: ev.AnyEvent) -> ev.AnyEvent:
    if isinstance(event, ev.Transferred | ev.LockedTransferred):
        return replace(event, fee=Amount(event.amount * RATE_PER_MILLE // 1000))
    return event
