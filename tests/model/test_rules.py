"""The matching rules one by one, under the numbers of protocols/matching-rules.md.

A book by hand, an order, and the effects that the rules foresee. Ten base units are a whole token.
"""

from typing import Any

import pytest

from indexer.domain.effect import Cancel, Close, Expire, Fill, Revert
from indexer.domain.market import Market
from indexer.domain.order import Order, OrderType, Side, TimeInForce
from indexer.domain.units import Address, Hash, Price, Quantity
from indexer.mirror.book import Book
from indexer.mirror.draft import Draft, Purse
from indexer.mirror.fees import fee, learn
from indexer.mirror.rules import gtx, scalex
from indexer.mirror.rules.terms import Clean, Rules, View

NOW = 1_000
UNIT = 10
MARKET = Market(Address("m"), "B-Q", Hash("p"), Address("b"), Address("q"), 0, 0)
TAKER = 99
Effects = list[Any]


def order(
    order_id: int,
    side: Side,
    price: int,
    quantity: int,
    account: str = "maker",
    *,
    expiry: int = NOW,
    kind: OrderType = "limit",
    force: TimeInForce = "gtc",
) -> Order:
    return Order(
        market=MARKET.address,
        order_id=order_id,
        account=Address(account),
        side=side,
        type=kind,
        time_in_force=force,
        price=Price(price),
        quantity=Quantity(quantity),
        quantity_in_quote=False,
        expiry=expiry,
        placed_block=0,
        placed_log_index=0,
        placed_at=0,
        tx=Hash("t"),
    )


def a_book(*orders: Order) -> Book:
    book = Book(MARKET, UNIT, levels_stay=True)
    for one in orders:
        book.append(one)
        book.newest = one.order_id
    return book


def effects(rules: Rules, book: Book, taker: Order, funds: int = 0, now: int = NOW) -> Effects:
    """Drive the rules over a draft, which a limit taker has joined."""
    draft, purse = Draft(book), Purse(funds, UNIT, 0)
    if taker.type == "limit":
        draft.append(taker)
    else:
        draft.orders.add(taker.order_id, taker)
    found: Effects = []
    for effect in rules.match(View(draft, lambda: purse.available), taker, now, 1):
        found.append(effect)
        draft.perform(taker, effect)
        purse.pay(taker, effect)
    return found


def limit(side: Side, price: int, quantity: int, account: str = "taker", **more: Any) -> Order:
    return order(TAKER, side, price, quantity, account, **more)


def market(side: Side, quantity: int, account: str = "taker") -> Order:
    return order(TAKER, side, 0, quantity, account, kind="market")


def fill(maker: int, price: int, quantity: int) -> Fill:
    return Fill(maker, Price(price), Quantity(quantity))


def closed(filled: int, status: Any = "filled") -> Close:
    return Close(TAKER, Quantity(filled), status)


def sells(*quantities: int, price: int = 100, start: int = 1) -> list[Order]:
    return [order(start + i, "sell", price, quantity) for i, quantity in enumerate(quantities)]


def stale(book: Book, side: Side, price: int) -> Book:
    """Leave an empty level in the tree, as a completely filled taker does."""
    gone = order(50, side, price, 1)
    book.append(gone)
    book.fill(gone, Quantity(1))
    book.unlink(gone)
    assert book.is_stale(side, Price(price))
    return book


# -- gtx -------------------------------------------------------------------------------------------


def test_a1_a_limit_order_that_is_filled_is_closed() -> None:
    book = a_book(*sells(5))
    assert effects(gtx, book, limit("buy", 100, 5)) == [
        fill(1, 100, 5),
        Clean("sell", Price(100)),
        closed(5),
    ]
    assert effects(gtx, book, limit("buy", 100, 6)) == [fill(1, 100, 5), Clean("sell", Price(100))]


def test_a2_a_market_order_is_in_base_and_reverts_on_an_empty_side() -> None:
    assert effects(gtx, a_book(*sells(5)), market("buy", 3)) == [fill(1, 100, 3)]
    assert effects(gtx, a_book(), market("buy", 3)) == [Revert("OrderHasNoLiquidity")]


@pytest.mark.parametrize(("price", "trades"), [(99, False), (100, True), (101, True)])
def test_a3_1_equality_crosses(price: int, trades: bool) -> None:
    found = effects(gtx, a_book(*sells(5)), limit("buy", price, 1))
    assert found == ([fill(1, 100, 1), closed(1)] if trades else [])


def corrupt() -> Book:
    """A level of count 1 that nothing can be reached in, and two sound ones behind it."""
    book = a_book(*sells(5, 5, price=100), *sells(5, price=101, start=3))
    book.append(order(4, "sell", 102, 5))
    book.unlink(book.orders.rows[1])
    book.unlink(book.orders.rows[2])  # the level is empty, the orders keep their pointers
    book.append(order(5, "sell", 100, 5))
    book.append(order(6, "sell", 100, 5))
    book.unlink(book.orders.rows[1])  # not a member: its next is 2, so the head goes there
    level = book.levels.rows["sell", Price(100)]
    level.head = level.tail = 0
    assert level.count == 1
    return book


def test_a3_2_a_stuck_level_is_jumped_over_and_the_limit_forgotten() -> None:
    found = effects(gtx, corrupt(), limit("buy", 100, 7))
    assert found == [fill(3, 101, 5), Clean("sell", Price(101)), fill(4, 102, 2), closed(7)]


def test_a3_2_two_stuck_levels_run_out_of_gas() -> None:
    book = corrupt()
    level = book.levels.rows["sell", Price(101)]
    level.head = level.tail = 0
    assert effects(gtx, book, limit("buy", 100, 7))[-1] == Revert(
        "out of gas: the queue never ends"
    )


def test_a3_4a_an_expired_maker_leaves_and_the_last_second_still_trades() -> None:
    book = a_book(order(1, "sell", 100, 5, expiry=NOW - 1), order(2, "sell", 100, 5, expiry=NOW))
    assert effects(gtx, book, limit("buy", 100, 1)) == [Expire(1), fill(2, 100, 1), closed(1)]


def test_a3_4b_the_takers_own_maker_is_cancelled_on_the_way() -> None:
    book = a_book(order(1, "sell", 100, 5, "taker"), order(2, "sell", 100, 5))
    assert effects(gtx, book, limit("buy", 100, 5))[:2] == [Cancel(1), fill(2, 100, 5)]


def test_a3_5_a_stale_level_is_cleaned_and_blocks_nobody() -> None:
    book = stale(a_book(*sells(5, price=101)), "sell", 100)
    assert effects(gtx, book, limit("buy", 101, 2)) == [
        Clean("sell", Price(100)),
        fill(1, 101, 2),
        closed(2),
    ]


def test_a3_there_is_no_cap_on_passes() -> None:
    book = a_book(*(order(i, "sell", 100 + i, 1) for i in range(1, 31)))
    assert len([e for e in effects(gtx, book, market("buy", 30)) if isinstance(e, Fill)]) == 30


# -- scalex ----------------------------------------------------------------------------------------


def test_n1_an_order_that_leaves_the_trees_crossed_reverts() -> None:
    book = a_book(*sells(5))
    assert effects(scalex, book, limit("buy", 100, 3)) == [
        fill(1, 100, 3),
        closed(3),
        Revert("NegativeSpreadCreated"),
    ]
    assert effects(scalex, book, limit("buy", 100, 5)) == [
        fill(1, 100, 5),
        Clean("sell", Price(100)),
        closed(5),
    ]


def test_n1_post_only_matches_nothing() -> None:
    book = a_book(*sells(5))
    assert effects(scalex, book, limit("buy", 100, 5, force="post_only")) == [
        Revert("NegativeSpreadCreated")
    ]
    assert effects(scalex, book, limit("buy", 99, 5, force="post_only")) == []


def test_n1_ioc_cancels_its_rest_and_fok_reverts() -> None:
    book = a_book(*sells(5))
    assert effects(scalex, book, limit("buy", 100, 7, force="ioc"))[-1] == Cancel(TAKER)
    found = effects(scalex, book, limit("buy", 100, 7, force="fok"))
    assert Revert("FillOrKillNotFulfilled") in found


@pytest.mark.parametrize(
    ("quantity", "filled", "status"), [(5, 5, "filled"), (9, 5, "partially_filled")]
)
def test_n2_a_market_sell_is_always_closed(quantity: int, filled: int, status: str) -> None:
    book = a_book(order(1, "buy", 100, 5))
    found = effects(scalex, book, market("sell", quantity), funds=quantity)
    assert found == [fill(1, 100, 5), Clean("buy", Price(100)), closed(filled, status)]


def test_n3_2a_an_expired_maker_leaves() -> None:
    book = a_book(order(1, "buy", 100, 5, expiry=NOW - 1), order(2, "buy", 100, 5))
    found = effects(scalex, book, market("sell", 1), funds=1)
    assert found == [Expire(1), fill(2, 100, 1), closed(1)]


def test_n3_2b_the_takers_own_maker_is_passed_over() -> None:
    book = a_book(order(1, "buy", 100, 5, "taker"), order(2, "buy", 100, 5))
    assert effects(scalex, book, market("sell", 5), funds=5) == [fill(2, 100, 5), closed(5)]


def test_n3_2c_a_market_sell_short_of_base_ends_everywhere() -> None:
    book = a_book(order(1, "buy", 100, 5), order(2, "buy", 99, 2))
    assert effects(scalex, book, market("sell", 7), funds=4) == [closed(0, "expired")]
    found = effects(scalex, book, market("sell", 7), funds=6)
    assert found == [fill(1, 100, 5), Clean("buy", Price(100)), closed(5, "partially_filled")]


def test_n3_3_and_n3_4_a_stale_best_level_ends_the_order_that_cleans_it() -> None:
    book = stale(a_book(order(1, "buy", 99, 5)), "buy", 100)
    found = effects(scalex, book, market("sell", 5), funds=5)
    assert found == [Clean("buy", Price(100)), closed(0, "expired")]


def test_n3_5_at_most_eleven_passes() -> None:
    book = a_book(*(order(i, "buy", 100 - i, 1) for i in range(1, 31)))
    found = effects(scalex, book, market("sell", 30), funds=30)
    assert len([e for e in found if isinstance(e, Fill)]) == 11
    assert found[-1] == closed(11, "partially_filled")


def test_n4_a_market_buy_counts_in_quote() -> None:
    found = effects(scalex, a_book(*sells(50)), market("buy", 200), funds=1_000)
    assert found == [fill(1, 100, 20), closed(20)]


def test_n4_2_a_remainder_rolls_over_the_makers_as_dust() -> None:
    # at 7 quote units a token, 10 units of quote buy 14 base for 9; the unit left buys 1 for 0
    found = effects(scalex, a_book(*sells(20, 20, price=7)), market("buy", 10), funds=100)
    assert found[:3] == [fill(1, 7, 14), fill(2, 7, 1), fill(1, 7, 1)]
    assert [e for e in found if isinstance(e, Fill)][1:3] == [fill(2, 7, 1), fill(1, 7, 1)]
    assert isinstance(found[-1], Close)


def test_n4_2b_and_n4_4_an_own_level_is_skipped_for_the_next() -> None:
    book = a_book(order(1, "sell", 100, 5, "taker"), order(2, "sell", 101, 50))
    found = effects(scalex, book, market("buy", 101), funds=1_000)
    assert found == [fill(2, 101, 10), closed(10)]


def test_n4_1_a_level_that_was_skipped_and_cleaned_points_to_nothing() -> None:
    book = stale(a_book(*sells(50, price=101)), "sell", 100)
    found = effects(scalex, book, market("buy", 101), funds=1_000)
    assert found == [Clean("sell", Price(100)), closed(0, "expired")]


def test_n4_2d_a_market_buy_is_cut_to_what_the_account_has() -> None:
    found = effects(scalex, a_book(*sells(50)), market("buy", 500), funds=130)
    assert found == [fill(1, 100, 13), closed(13)]
    assert effects(scalex, a_book(*sells(50)), market("buy", 500)) == [closed(0, "expired")]


def test_n4_5_passes_are_capped_at_eleven() -> None:
    book = a_book(*(order(i, "sell", 100 + i, 1) for i in range(1, 31)))
    found = effects(scalex, book, market("buy", 10**6), funds=10**6)
    assert len([e for e in found if isinstance(e, Fill)]) == 11


# -- the structures --------------------------------------------------------------------------------


def test_s2_the_tree_answers_best_and_worse_of_its_members_only() -> None:
    book = a_book(*sells(1), *sells(1, price=102, start=2), order(3, "buy", 98, 1))
    assert (book.best("sell"), book.best("buy")) == (100, 98)
    assert book.worse("sell", Price(100)) == 102
    assert book.worse("sell", Price(101)) == 0
    assert book.worse("sell", Price(102)) == 0
    assert book.worse("buy", Price(98)) == 0


def test_p3_and_p4_a_cancel_takes_its_emptied_level_out_of_the_tree() -> None:
    book = a_book(*sells(1))
    book.unlink(book.orders.rows[1])
    assert book.asks == [100]
    book.clean("sell", Price(100), book.orders.rows[1])
    assert book.asks == []
    assert book.levels.rows == {}


def test_u2_a_rate_is_clear_from_a_thousand_units_on() -> None:
    assert learn(None, 1_000, 2) == 2
    assert learn(None, 100, 0) is None  # 0 to 9 per mille
    assert learn(2, 100, 0) == 2  # fits what is known
    assert learn(2, 1_000, 5) == 5
    assert learn(2, 10, 1) is None  # refuted, and not clear
    assert learn(2, 1_000, 10**18) == 2  # more than all of it: nothing is learnt
    assert learn(None, 1_000, 10**18) is None
    for rate in range(50):
        assert learn(None, 1_000, fee(1_000, rate)) == rate
