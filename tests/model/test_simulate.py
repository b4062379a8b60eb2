"""Simulated orders, against what recorded chains then did with the same ones, and by hand."""

import pytest

from indexer.domain import events as ev
from indexer.domain.effect import Fill
from indexer.domain.execution import Execution, Intent
from indexer.domain.units import Address, Price, Quantity
from indexer.mirror.fold import Mirror
from indexer.mirror.simulate import MOST_INTENTS, BadSimulation, simulate
from tests.model.recorded import NAMES, recorded
from tests.model.test_audit import state


@pytest.mark.parametrize("name", NAMES)
def test_simulate_then_send_equals_the_recorded_chain(name: str) -> None:
    """The first tx of a block meets the state we have; what it placed is simulated before."""
    deployment, tokens, blocks = recorded(name)
    mirror = Mirror(deployment)
    compared = 0
    for block, events in blocks:
        own = [event for event in events if event.tx == events[0].tx]
        placed = [event for event in own if isinstance(event, ev.OrderPlaced)]
        if len(placed) == 1 and all(isinstance(e, ev.Locked) for e in own[: own.index(placed[0])]):
            order = placed[0]
            intent = Intent(
                order.side,
                order.quantity,
                order.price if order.type == "limit" else None,
                order.account,
                order.time_in_force,
            )
            (foreseen,) = simulate(mirror, order.address, [intent], block.timestamp)
            assert foreseen.rejection is None, (block, order)
            fills = [Fill(f.maker_order_id, f.price, f.quantity) for f in foreseen.fills]
            assert fills == [fill(e) for e in own if isinstance(e, ev.Traded)], (block, order)
            compared += 1
        mirror.apply(block, events, tokens)
    assert compared > 200


def fill(trade: ev.Traded) -> Fill:
    maker = trade.sell_order_id if trade.taker_side == "buy" else trade.buy_order_id
    return Fill(maker, trade.price, trade.quantity)


# -- by hand: a lot is 1,000 base units and costs 5 quote units at tick 1 --------------------------


@pytest.fixture
def chain() -> Mirror:
    """Asks of traders 1 and 2: 2 lots and 1 lot at tick 100, 5 lots at tick 102; a bid at 98."""
    from tests.model.test_price_time import run, started

    chain = started()
    for who, side, tick, lots in ((1, 1, 100, 2), (2, 1, 100, 1), (1, 1, 102, 5), (2, 0, 98, 4)):
        assert run(chain, {"kind": "limit", "who": who, "side": side, "tick": tick, "lots": lots,
                           "force": 0, "lives_s": None, "pick": 0})  # fmt: skip
    return chain.mirror


NOW = 1_700_000_000
TICK, LOT = 5_000, 1_000


def sent(mirror: Mirror, *intents: Intent) -> list[Execution]:
    (market,) = mirror.books
    before = state(mirror)
    executions = simulate(mirror, market, intents, NOW)
    assert state(mirror) == before
    return executions


def buy(ticks: int | None, lots: int, **more: object) -> Intent:
    price = None if ticks is None else Price(ticks * TICK)
    return Intent("buy", Quantity(lots * LOT), price, **more)  # type: ignore[arg-type]


def test_an_average_price_and_its_impact_are_exact(chain: Mirror) -> None:
    (execution,) = sent(chain, buy(None, 5))
    assert [f.maker_order_id for f in execution.fills] == [1, 2, 3]
    assert execution.status == "filled"
    # 3 lots at tick 100 and 2 at 102: an average of 100.8, 80 basis points above 100
    assert execution.average_price == (504_000, 1)
    assert execution.price_impact_bps == (80, 1)
    assert execution.quote_filled == (3 * 100 + 2 * 102) * 5


def test_what_would_rest_and_behind_whom(chain: Mirror) -> None:
    (crossing,) = sent(chain, buy(100, 7))
    assert (crossing.status, crossing.filled) == ("partially_filled", 3 * LOT)
    assert crossing.resting is not None
    assert (crossing.resting.quantity, crossing.resting.position) == (4 * LOT, 1)
    (behind,) = sent(chain, buy(98, 2))
    assert behind.resting is not None
    assert (behind.resting.position, behind.resting.quantity_ahead) == (2, 4 * LOT)


def test_orders_in_a_row_meet_what_those_before_them_left(chain: Mirror) -> None:
    first, second, third = sent(chain, buy(100, 3), buy(None, 1), buy(97, 2))
    assert [f.price for f in first.fills] == [100 * TICK] * 2
    assert [f.price for f in second.fills] == [102 * TICK]
    assert third.resting is not None


def test_a_rejected_order_leaves_no_trace_for_the_next(chain: Mirror) -> None:
    rejected, second = sent(chain, buy(101, 9, time_in_force="fok"), buy(100, 3))
    assert (rejected.status, rejected.rejection) == ("rejected", "FillOrKillNotFilled")
    assert (rejected.fills, rejected.remaining) == ((), 9 * LOT)
    assert second.status == "filled"


@pytest.mark.parametrize(
    ("intent", "reason"),
    [
        (Intent("buy", Quantity(1), Price(TICK)), "InvalidQuantity"),
        (Intent("buy", Quantity(LOT), Price(1)), "InvalidPrice"),
        (Intent("buy", Quantity(LOT), Price(TICK)), "OrderTooSmall"),
        (Intent("buy", Quantity(LOT), Price(100 * TICK), expiry=NOW - 1), "InvalidExpiry"),
        (buy(100, 1, time_in_force="post_only"), "PostOnlyWouldTake"),
        (buy(100, 1, account=Address("0xpoor")), "InsufficientBalance"),
    ],
)
def test_a_rejection_has_the_contracts_reason(chain: Mirror, intent: Intent, reason: str) -> None:
    (execution,) = sent(chain, intent)
    assert (execution.status, execution.rejection) == ("rejected", reason)


def test_own_orders_are_cancelled_and_told(chain: Mirror) -> None:
    (execution,) = sent(chain, buy(100, 1, account=Address(f"0x{1:040x}")))
    assert execution.cancelled == (1,)
    assert [f.maker_order_id for f in execution.fills] == [2]


def test_too_many_orders_or_an_unknown_market_are_refused(chain: Mirror) -> None:
    (market,) = chain.books
    with pytest.raises(BadSimulation, match="orders: expected at most"):
        simulate(chain, market, [buy(100, 1)] * (MOST_INTENTS + 1), NOW)
    with pytest.raises(BadSimulation, match="market: expected"):
        simulate(chain, Address("0xnone"), [], NOW)
    assert len(sent(chain, *[buy(98, 2)] * MOST_INTENTS)) == MOST_INTENTS
