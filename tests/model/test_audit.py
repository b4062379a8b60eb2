"""The second witness on recorded chains: it agrees with all of them, and with no forged one."""

import random
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from msgspec.structs import replace

from indexer.domain import events as ev
from indexer.domain.divergence import Divergence
from indexer.domain.effect import Effect, Fill, Revert
from indexer.domain.order import Trade
from indexer.domain.units import Address, Price, Quantity
from indexer.mirror.audit import INCOMPLETE
from indexer.mirror.fold import Mirror
from tests.model.recorded import GENESIS, NAMES, Blocks, fold, recorded, truth

TRADES = {"gtx_main": 1897, "gtx_chaos": 866, "scalex_main": 2000, "scalex_expiry": 891}
SEED = 5


@pytest.mark.parametrize("name", NAMES)
def test_every_trade_of_a_recording_is_verified(name: str) -> None:
    _, applied = fold(name)
    assert [d for a in applied for d in a.divergences] == []
    verdicts = Counter(trade.verified for a in applied for trade in a.trades)
    assert verdicts == {True: TRADES[name]}


@pytest.mark.parametrize("name", NAMES)
def test_the_price_trees_equal_the_contracts_stale_levels_included(name: str) -> None:
    mirror, _ = fold(name)
    for pool in truth(name)["pools"]:
        book = mirror.books[pool["orderBook"].lower()]
        assert [int(price) for price in pool["tree"]["BUY"]] == book.bids[::-1]
        assert [int(price) for price in pool["tree"]["SELL"]] == book.asks
        flags = {key for key, level in book.levels.rows.items() if level.in_tree}
        assert flags == {("buy", p) for p in book.bids} | {("sell", p) for p in book.asks}


@pytest.mark.parametrize("name", NAMES)
def test_fee_rates_are_learnt_from_transfers(name: str) -> None:
    mirror, _ = fold(name)
    rates = truth(name)["feeMaker"], truth(name)["feeTaker"]
    for market in mirror.markets.rows.values():
        assert (market.maker_fee_per_mille, market.taker_fee_per_mille) == tuple(map(int, rates))


@pytest.mark.parametrize("name", NAMES)
def test_rewinding_everything_leaves_nothing(name: str) -> None:
    mirror, applied = fold(name)
    middle = applied[len(applied) // 2].block
    mirror.rewind(middle)
    half = fold(name, recorded(name)[2][: len(applied) // 2 + 1])[0]
    assert state(mirror) == state(half)
    mirror.rewind(GENESIS)
    assert state(mirror) == state(Mirror(mirror.deployment))


def state(mirror: Mirror) -> object:
    books = {
        address: (book.orders.rows, book.levels.rows, book.bids, book.asks)
        for address, book in mirror.books.items()
    }
    records = mirror.tokens.rows, mirror.markets.rows, mirror.candles.rows
    return books, records, mirror.ledger.balances.rows


# -- forgeries -------------------------------------------------------------------------------------

Forgery = Callable[[ev.AnyEvent, Mirror], ev.AnyEvent | None]


def forged(name: str, nth: int, kind: type, forge: Forgery) -> tuple[ev.AnyEvent, Blocks]:
    """A recording whose nth event of a kind is another one, or is gone; and that event."""
    deployment, tokens, blocks = recorded(name)
    mirror, left, told = Mirror(deployment), nth, list(blocks)
    for at, (block, events) in enumerate(blocks):
        for i, event in enumerate(events):
            if isinstance(event, kind):
                if left == 0:
                    other = forge(event, mirror)
                    told[at] = (
                        block,
                        [*events[:i], *([other] if other else []), *events[i + 1 :]],
                    )
                    return event, told
                left -= 1
        mirror.apply(block, events, tokens)
    raise AssertionError(f"{name} has fewer than {nth} {kind.__name__}")


def told(name: str, blocks: Blocks) -> Iterator[tuple[list[Divergence], list[bool | None]]]:
    """Block by block: divergences, and the trades' verdicts."""
    deployment, tokens, _ = recorded(name)
    mirror = Mirror(deployment)
    for block, events in blocks:
        applied = mirror.apply(block, events, tokens)
        yield list(applied.divergences), [trade.verified for trade in applied.trades]


def some(name: str, count: int = 3) -> list[int]:
    """Trades to forge, from a seed."""
    return random.Random(f"{SEED} {name}").sample(range(TRADES[name]), count)


def dearer(event: ev.AnyEvent, mirror: Mirror) -> ev.AnyEvent:
    assert isinstance(event, ev.Traded)
    return replace(event, price=Price(event.price + 1))


@pytest.mark.parametrize("name", NAMES)
def test_an_altered_price_is_one_divergence_and_no_more(name: str) -> None:
    for nth in some(name):
        event, blocks = forged(name, nth, ev.Traded, dearer)
        assert isinstance(event, ev.Traded)
        seen = list(told(name, blocks))
        (divergence,) = [d for divergences, _ in seen for d in divergences]
        assert (divergence.kind, divergence.log_index) == ("wrong_price", event.log_index), nth
        assert divergence.market == event.address
        assert isinstance(divergence.expected, Fill)
        assert isinstance(divergence.found, Fill)
        assert divergence.expected.price == event.price
        assert divergence.found.price == event.price + 1
        verdicts = Counter(verdict for _, verdicts in seen for verdict in verdicts)
        assert verdicts == {True: TRADES[name] - 1, False: 1}


def smaller(event: ev.AnyEvent, mirror: Mirror) -> ev.AnyEvent:
    assert isinstance(event, ev.Traded)
    return replace(event, quantity=Quantity(event.quantity - 1 if event.quantity else 1))


@pytest.mark.parametrize("name", NAMES)
def test_an_altered_quantity_is_named_where_it_happened(name: str) -> None:
    for nth in some(name):
        event, blocks = forged(name, nth, ev.Traded, smaller)
        assert isinstance(event, ev.Traded)
        first = next(d for divergences, _ in told(name, blocks) for d in divergences)
        assert (first.kind, first.log_index) == ("wrong_quantity", event.log_index), nth
        assert isinstance(first.expected, Fill)
        assert first.expected.quantity == event.quantity


def other_maker(event: ev.AnyEvent, mirror: Mirror) -> ev.AnyEvent:
    """Somebody else's order of the same side, from anywhere in the book."""
    assert isinstance(event, ev.Traded)
    ours = event.sell_order_id if event.taker_side == "buy" else event.buy_order_id
    side = "sell" if event.taker_side == "buy" else "buy"
    rows = mirror.books[event.address].orders.rows.values()
    other = next(o.order_id for o in rows if o.queued and o.side == side and o.order_id != ours)
    if event.taker_side == "buy":
        return replace(event, sell_order_id=other)
    return replace(event, buy_order_id=other)


@pytest.mark.parametrize("name", NAMES)
def test_another_maker_is_named_where_it_happened(name: str) -> None:
    for nth in some(name):
        event, blocks = forged(name, nth, ev.Traded, other_maker)
        assert isinstance(event, ev.Traded)
        first = next(d for divergences, _ in told(name, blocks) for d in divergences)
        assert (first.kind, first.log_index) == ("wrong_maker", event.log_index), nth
        assert isinstance(first.expected, Fill)
        assert first.expected.maker_order_id in (event.sell_order_id, event.buy_order_id)


@pytest.mark.parametrize("name", NAMES)
def test_a_fill_that_is_left_out_is_missing(name: str) -> None:
    for nth in some(name):
        event, blocks = forged(name, nth, ev.Traded, lambda event, mirror: None)
        assert isinstance(event, ev.Traded)
        first = next(d for divergences, _ in told(name, blocks) for d in divergences)
        ids = (event.sell_order_id, event.buy_order_id)
        assert isinstance(first.expected, Fill)
        assert first.expected.maker_order_id in ids
        assert first.order_id in ids
        assert first.kind in ("missing_fill", "wrong_quantity", "wrong_maker"), nth


@pytest.mark.parametrize("name", NAMES)
def test_a_cancel_that_is_left_out_shows_at_the_first_order_that_should_meet_it(name: str) -> None:
    noticed = 0
    for nth in random.Random(f"{SEED} {name}").sample(range(100), 5):
        event, blocks = forged(name, nth, ev.OrderCancelled, lambda event, mirror: None)
        assert isinstance(event, ev.OrderCancelled)
        divergences = (d for ds, _ in told(name, blocks) for d in ds)
        first = next(divergences, None)
        if first is None:
            continue  # nobody came as far as to its level
        noticed += 1
        assert first.expected is not None
        if isinstance(first.expected, Revert):  # it still stands in the way of the other side
            assert first.kind == "missing_revert"
            continue
        assert subject(first.expected) == event.order_id, (nth, first)
    assert noticed


def stranger(event: ev.AnyEvent, mirror: Mirror) -> ev.AnyEvent:
    """A maker that nobody ever placed."""
    assert isinstance(event, ev.Traded)
    if event.taker_side == "buy":
        return replace(event, sell_order_id=999_999)
    return replace(event, buy_order_id=999_999)


def huge(event: ev.AnyEvent, mirror: Mirror) -> ev.AnyEvent:
    assert isinstance(event, ev.Traded)
    return replace(event, quantity=Quantity(event.quantity + 2**120))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("forge", "kind"), [(stranger, "wrong_maker"), (huge, "wrong_quantity")])
def test_a_trade_that_cannot_be_is_told_and_folding_goes_on(
    name: str, forge: Forgery, kind: str
) -> None:
    for nth in some(name, 2):
        event, blocks = forged(name, nth, ev.Traded, forge)
        seen = [divergences for divergences, _ in told(name, blocks)]
        assert len(seen) == len(blocks)
        first = next(d for divergences in seen for d in divergences)
        assert (first.kind, first.log_index) == (kind, event.log_index)


def test_where_the_history_does_not_begin_with_order_one_nothing_is_decided() -> None:
    deployment, tokens, blocks = recorded("gtx_main")
    mirror, dropped = Mirror(deployment), set[tuple[Address, int]]()
    trades: list[Trade] = []
    for block, events in blocks:
        kept: list[ev.AnyEvent] = []
        for event in events:
            orders = {
                getattr(event, name, 0) for name in ("order_id", "buy_order_id", "sell_order_id")
            }
            if (1 in orders and isinstance(event, ev.Traded | ev.OrderPlaced)) or any(
                (event.address, order) in dropped for order in orders
            ):
                dropped |= {(event.address, order) for order in orders if order}
            else:
                kept.append(event)
        applied = mirror.apply(block, kept, tokens)
        assert applied.divergences == ()
        trades += applied.trades
    assert trades
    assert {(trade.verified, trade.undecided) for trade in trades} == {(None, INCOMPLETE)}


def test_a_trade_that_is_put_in_is_unexpected() -> None:
    event, blocks = forged("gtx_main", 50, ev.Traded, lambda event, mirror: event)
    assert isinstance(event, ev.Traded)
    twice = [
        (
            block,
            [e for event_ in events for e in ([event_, event_] if event_ is event else [event_])],
        )
        for block, events in blocks
    ]
    seen = list(told("gtx_main", twice))
    first = next(d for divergences, _ in seen for d in divergences)
    assert first.log_index == event.log_index
    assert first.kind in ("unexpected_fill", "wrong_maker", "wrong_quantity")
    assert next(False in verdicts for divergences, verdicts in seen if divergences)


def subject(effect: Effect) -> int:
    return effect.maker_order_id if isinstance(effect, Fill) else getattr(effect, "order_id", 0)
