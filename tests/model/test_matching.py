"""Two books behind `tidebook match`, held equal after every command; and what commands may say."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.mirror.matching.engine import Engine, Outcome, state_hash
from indexer.mirror.matching.fast import MOST_DEAD, FastBook
from indexer.mirror.matching.naive import NaiveBook

Command = dict[str, Any]
SEEDS = (1, 2, 3)
ORDERS_OF_A_LONG_RUN = 1_500

ids = st.integers(1, 30).map(str)
sides = st.sampled_from(("buy", "sell"))
prices = st.integers(95, 105)
quantities = st.integers(1, 20)
accounts = st.sampled_from((None, "ann", "bob"))
places = st.fixed_dictionaries(
    {"op": st.just("place"), "id": ids, "side": sides, "price": prices, "quantity": quantities},
    optional={
        "account": accounts,
        "time_in_force": st.sampled_from(("gtc", "gtc", "ioc", "fok", "post_only")),
    },
)
at_market = st.fixed_dictionaries(
    {"op": st.just("place"), "id": ids, "side": sides, "quantity": quantities},
    optional={"account": accounts, "time_in_force": st.sampled_from(("ioc", "fok"))},
).map(lambda command: {**command, "type": "market"})
takes = st.fixed_dictionaries(
    {"op": st.just("take"), "id": ids, "side": sides, "quantity": quantities},
    optional={"account": accounts, "price": prices},
)
cancels = st.fixed_dictionaries(
    {"op": st.just("cancel"), "id": ids}, optional={"quantity": quantities}
)
depths = st.fixed_dictionaries({"op": st.just("depth"), "levels": st.integers(1, 5)})
commands = st.one_of(places, places, places, at_market, takes, cancels, depths)


def both(engines: tuple[Engine, Engine], command: Command) -> Outcome:
    """One command through the naive and the fast book: the same outcome, the same state."""
    naive, fast = engines
    outcome = naive.execute(command)
    assert fast.execute(command) == outcome
    assert state_hash(fast.book) == state_hash(naive.book)
    bids, asks = fast.book.depth(1)
    assert not bids or not asks or bids[0][0] < asks[0][0], "a crossed book"
    return outcome


@given(st.lists(commands, max_size=60))
@settings(max_examples=150, deadline=None)
def test_the_fast_book_equals_the_naive_one_after_every_command(flow: list[Command]) -> None:
    engines = Engine(NaiveBook()), Engine(FastBook())
    for command in flow:
        outcome = both(engines, command)
        if "fills" in outcome and command["op"] != "cancel":
            filled = sum(fill["quantity"] for fill in outcome["fills"])
            assert filled + outcome["remaining"] == command["quantity"]
            limit = command.get("price")
            if limit is not None:
                buys = command["side"] == "buy"
                assert all(
                    (f["price"] <= limit) is buys or f["price"] == limit for f in outcome["fills"]
                )


@pytest.mark.parametrize("seed", SEEDS)
def test_they_stay_equal_over_a_long_run(seed: int) -> None:
    draw = random.Random(seed)
    engines = Engine(NaiveBook()), Engine(FastBook())
    for n in range(ORDERS_OF_A_LONG_RUN):
        side = draw.choice(("buy", "sell"))
        account = draw.choice((None, "ann", "bob", "cid"))
        command: Command = {"id": str(n), "side": side, "account": account}
        kind = draw.random()
        if kind < 0.5:
            price = 100 + draw.randint(-3, 6) * (-1 if side == "buy" else 1)
            command |= {"op": "place", "price": price, "quantity": draw.randint(1, 50)}
        elif kind < 0.9:
            command = {"op": "cancel", "id": str(draw.randrange(n + 1))}
        else:
            command |= {"op": "take", "quantity": draw.randint(1, 200)}
        both(engines, command)


def run(*flow: Command) -> list[Outcome]:
    engines = Engine(NaiveBook()), Engine(FastBook())
    return [both(engines, command) for command in flow]


def place(id_: str, side: str, price: int, quantity: int, **more: object) -> Command:
    command = {"op": "place", "id": id_, "side": side, "price": price, "quantity": quantity}
    return {**command, **more}


def fill(maker: str, taker: str, price: int, quantity: int) -> Command:
    return {"maker": maker, "taker": taker, "price": price, "quantity": quantity}


def test_a_better_price_goes_first_then_the_earlier_order_at_the_makers_price() -> None:
    *_, taken, depth = run(
        place("a", "sell", 101, 5),
        place("b", "sell", 100, 5),
        place("c", "sell", 100, 5),
        place("t", "buy", 101, 12),
        {"op": "depth", "levels": 5},
    )
    assert taken == {
        "fills": [fill("b", "t", 100, 5), fill("c", "t", 100, 5), fill("a", "t", 101, 2)],
        "status": "filled",
        "remaining": 0,
    }
    assert depth == {"bids": [], "asks": [[101, 3]]}


def test_what_is_not_filled_rests_with_its_rest() -> None:
    _, outcome, depth = run(
        place("a", "sell", 100, 5), place("t", "buy", 100, 8), {"op": "depth", "levels": 1}
    )
    assert (outcome["status"], outcome["remaining"]) == ("partially_filled", 3)
    assert depth == {"bids": [[100, 3]], "asks": []}


def test_a_partly_filled_maker_stays_first_in_line() -> None:
    *_, taken = run(
        place("a", "buy", 100, 5),
        place("b", "buy", 100, 5),
        {"op": "take", "id": "t", "side": "sell", "quantity": 2},
        {"op": "take", "id": "u", "side": "sell", "quantity": 4},
    )
    assert taken["fills"] == [fill("a", "u", 100, 3), fill("b", "u", 100, 1)]


def test_a_take_never_rests() -> None:
    _, taken, depth = run(
        place("a", "sell", 100, 5),
        {"op": "take", "id": "t", "side": "buy", "quantity": 9, "price": 100},
        {"op": "depth"},
    )
    assert (taken["status"], taken["remaining"]) == ("cancelled", 4)
    assert depth == {"bids": [], "asks": []}


def test_an_account_never_trades_with_itself_and_the_resting_order_goes() -> None:
    _, _, taken, gone = run(
        place("a", "sell", 100, 5, account="ann"),
        place("b", "sell", 100, 5, account="bob"),
        place("t", "buy", 100, 5, account="ann"),
        {"op": "cancel", "id": "a"},
    )
    assert taken["fills"] == [fill("b", "t", 100, 5)]
    assert taken["cancelled"] == ["a"]
    assert gone["error"].startswith("id: ")


def test_orders_without_an_account_trade_with_each_other() -> None:
    _, taken = run(place("a", "sell", 100, 5), place("t", "buy", 100, 5))
    assert taken["fills"] == [fill("a", "t", 100, 5)]


def test_fok_counts_only_what_can_be_filled() -> None:
    _, _, short, full = run(
        place("a", "sell", 100, 5, account="ann"),
        place("b", "sell", 100, 5),
        place("t", "buy", 100, 6, account="ann", time_in_force="fok"),
        place("u", "buy", 100, 5, account="ann", time_in_force="fok"),
    )
    assert short == {"fills": [], "status": "rejected", "remaining": 6}
    assert full["fills"] == [fill("b", "u", 100, 5)]


def test_post_only_is_rejected_where_it_would_take_and_leaves_no_trace() -> None:
    _, rejected, again = run(
        place("a", "sell", 100, 5),
        place("p", "buy", 100, 5, time_in_force="post_only"),
        place("p", "buy", 99, 5, time_in_force="post_only"),
    )
    assert rejected["status"] == "rejected"
    assert again["status"] == "open"


def test_a_market_order_meets_an_empty_side() -> None:
    (outcome,) = run({"op": "place", "type": "market", "id": "t", "side": "buy", "quantity": 1})
    assert outcome == {"fills": [], "status": "rejected", "remaining": 1}


def test_part_of_an_order_can_be_cancelled_and_it_keeps_its_place() -> None:
    _, _, part, taken = run(
        place("a", "sell", 100, 5),
        place("b", "sell", 100, 5),
        {"op": "cancel", "id": "a", "quantity": 2},
        {"op": "take", "id": "t", "side": "buy", "quantity": 4},
    )
    assert part == {"fills": [], "status": "open", "remaining": 3}
    assert taken["fills"] == [fill("a", "t", 100, 3), fill("b", "t", 100, 1)]


def test_cancelled_orders_do_not_fill_a_queue_for_ever() -> None:
    book = FastBook()
    book.place("stays", None, True, 100, 1)
    for n in range(10 * MOST_DEAD):
        book.place(str(n), None, True, 100, 1)
        book.cancel(str(n))
    (level,) = book._bids.levels.values()
    assert len(level.queue) <= 2 + MOST_DEAD + 1


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (place("x", "buy", 0, 1), "price"),
        (place("x", "buy", -5, 1), "price"),
        (place("x", "buy", 1, 0), "quantity"),
        (place("x", "buy", 1, True), "quantity"),
        (place("x", "hold", 1, 1), "side"),
        (place("x", "buy", 1, 1 << 128), "quantity"),
        (place("x", "buy", 10**5000, 1), "price"),
        ({**place("x", "buy", 1, 1), "price": 1.5}, "price"),
        ({**place("x", "buy", 1, 1), "price": "1"}, "price"),
        ({**place("x", "buy", 1, 1), "id": 7}, "id"),
        ({**place("x", "buy", 1, 1), "account": 7}, "account"),
        ({**place("x", "buy", 1, 1), "type": "stop"}, "type"),
        ({**place("x", "buy", 1, 1), "time_in_force": "day"}, "time_in_force"),
        ({**place("x", "buy", 1, 1), "time_in_force": ["gtc"]}, "time_in_force"),
        (place("x", "buy", 1, 1, type="market", time_in_force="gtc"), "time_in_force"),
        (place("rests", "buy", 1, 1), "id"),
        ({"op": "take", "id": "rests", "side": "buy", "quantity": 1}, "id"),
        ({"op": "cancel", "id": "nobody"}, "id"),
        ({"op": "cancel"}, "id"),
        ({"op": "depth", "levels": 0}, "levels"),
        ({"op": "depth", "levels": 2.0}, "levels"),
        ({"op": "amend"}, "op"),
        ({}, "op"),
        ([], "command"),
        (None, "command"),
    ],
)
def test_a_wrong_command_names_the_field_and_changes_nothing(command: object, field: str) -> None:
    engine = Engine()
    engine.execute(place("rests", "sell", 100, 5))
    before = state_hash(engine.book)
    outcome = engine.execute(command)
    assert outcome.keys() == {"error"}
    assert outcome["error"].startswith(f"{field}: expected ")
    assert "\n" not in outcome["error"]
    assert state_hash(engine.book) == before
