"""Markets told in sentences: every rule of contracts_test/RULES.md that has a story."""

from __future__ import annotations

import pytest

from contracts_test.exchange import BUY, FOK, IOC, POST_ONLY, SELL
from contracts_test.pytest_plugin import RunningDevnet
from contracts_test.story import (
    FORTUNE,
    ChainBuilder,
    StoryError,
    cancel,
    fork,
    mine,
    place,
    wait,
    withdraw,
)

ETH = 10**18
USDC = 10**6
FILLED, CANCELLED, EXPIRED = 2, 3, 5


def test_a_taker_meets_the_best_price_first_and_the_oldest_at_a_price(chain: ChainBuilder) -> None:
    chain.run(
        place("alice", sell=1, at=101, name="dear"),
        place("bob", sell=1, at=100, name="first"),
        place("carol", sell=1, at=100, name="second"),
        mine(),
        place("dave", buy="2.5", at=101),
        mine(),
    )
    assert [(t.sell_order, t.price, t.quantity) for t in chain.trades()] == [
        (chain.order("first")["id"], 100 * USDC, ETH),
        (chain.order("second")["id"], 100 * USDC, ETH),
        (chain.order("dear")["id"], 101 * USDC, ETH // 2),
    ]
    assert chain.levels(SELL) == [(101 * USDC, ETH // 2, 1)]


def test_a_better_price_is_refunded(chain: ChainBuilder) -> None:
    chain.run(
        place("alice", sell=1, at=100), mine(), place("bob", buy=1, at=120, name="bid"), mine()
    )
    assert chain.balance("bob", "USDC") == ((FORTUNE - 100) * USDC, 0)
    # the taker's 0.2 % in base, the maker's 0.1 % in quote
    assert chain.balance("bob", "WETH") == (FORTUNE * ETH + ETH - ETH * 2 // 1000, 0)
    assert chain.balance("alice", "USDC") == (FORTUNE * USDC + 100 * USDC - USDC // 10, 0)
    assert chain.order("bid")["status"] == FILLED


def test_a_partly_filled_order_keeps_its_place(chain: ChainBuilder) -> None:
    chain.run(
        place("alice", sell=2, at=100, name="first"),
        place("bob", sell=2, at=100, name="second"),
        mine(),
        place("carol", buy=1, at=100),
        place("carol", buy=2, at=100),
        mine(),
    )
    assert [t.sell_order for t in chain.trades()] == [1, 1, 2]
    assert chain.order("second")["filled"] == ETH


def test_cancelling_gives_everything_back_and_only_once(chain: ChainBuilder) -> None:
    chain.run(place("alice", buy=1, at=100, name="bid"), mine(), cancel("alice", "bid"), mine())
    assert chain.balance("alice", "USDC") == (FORTUNE * USDC, 0)
    assert chain.levels(BUY) == []
    chain.run(cancel("alice", "bid"), mine())
    assert chain.refusals() == ["OrderNotOpen"]
    chain.run(place("alice", sell=1, at=100, name="ask"), mine(), cancel("bob", "ask"), mine())
    assert chain.refusals() == ["NotOrderOwner"]


def test_a_filled_order_can_not_be_cancelled(chain: ChainBuilder) -> None:
    chain.run(
        place("alice", sell=1, at=100, name="ask"), mine(), place("bob", buy=1, at=100), mine()
    )
    chain.run(cancel("alice", "ask"), mine())
    assert chain.refusals() == ["OrderNotOpen"]


def test_the_middle_of_a_queue_can_leave(chain: ChainBuilder) -> None:
    chain.run(
        place("alice", sell=1, at=100, name="a"),
        place("bob", sell=1, at=100, name="b"),
        place("carol", sell=1, at=100, name="c"),
        mine(),
        cancel("bob", "b"),
        mine(),
        cancel("carol", "c"),
        place("bob", sell=1, at=100, name="d"),
        mine(),
        place("dave", buy=3, at=100),
        mine(),
    )
    assert [t.sell_order for t in chain.trades()] == [1, 4]


def test_immediate_or_cancel_leaves_nothing_behind(chain: ChainBuilder) -> None:
    chain.run(
        place("alice", sell=1, at=100),
        mine(),
        place("bob", buy=3, at=110, time_in_force=IOC, name="ioc"),
        mine(),
    )
    assert chain.order("ioc")["status"] == CANCELLED
    assert chain.order("ioc")["filled"] == ETH
    assert chain.levels(BUY) == []
    assert chain.balance("bob", "USDC") == ((FORTUNE - 100) * USDC, 0)


def test_fill_or_kill_is_all_or_nothing(chain: ChainBuilder) -> None:
    chain.run(
        place("alice", sell=1, at=100), mine(), place("bob", buy=3, at=110, time_in_force=FOK),
        mine(),
    )  # fmt: skip
    assert chain.refusals() == ["FillOrKillNotFilled"]
    assert chain.trades() == []
    chain.run(place("bob", buy=1, at=110, time_in_force=FOK), mine())
    assert len(chain.trades()) == 1


def test_post_only_never_takes(chain: ChainBuilder) -> None:
    chain.run(place("alice", sell=1, at=100), mine())
    chain.run(place("bob", buy=1, at=100, time_in_force=POST_ONLY), mine())
    assert chain.refusals() == ["PostOnlyWouldTake"]
    chain.run(place("bob", buy=1, at="99.99", time_in_force=POST_ONLY), mine())
    assert chain.levels(BUY) == [(99_990_000, ETH, 1)]


def test_nobody_trades_with_themselves(chain: ChainBuilder) -> None:
    chain.run(
        place("alice", sell=1, at=100, name="mine"),
        place("bob", sell=1, at=100),
        mine(),
        place("alice", buy=1, at=100),
        mine(),
    )
    assert [t.sell_order for t in chain.trades()] == [2]
    assert chain.order("mine")["status"] == CANCELLED
    assert chain.balance("alice", "WETH")[1] == 0


def test_an_expired_order_is_walked_over_and_paid_back(chain: ChainBuilder) -> None:
    chain.run(
        place("alice", sell=1, at=100, expires_in=10, name="old"),
        place("bob", sell=1, at=100),
        mine(),
        wait(60),
        place("carol", buy=1, at=100),
        mine(),
    )
    assert [t.sell_order for t in chain.trades()] == [2]
    assert chain.order("old")["status"] == EXPIRED
    assert chain.balance("alice", "WETH") == (FORTUNE * ETH, 0)


def test_an_expired_order_does_not_stop_a_post_only_order(chain: ChainBuilder) -> None:
    chain.run(
        place("alice", sell=1, at=100, expires_in=10, name="old"),
        mine(),
        wait(60),
        place("bob", buy=1, at=100, time_in_force=POST_ONLY, name="bid"),
        mine(),
    )
    assert chain.levels(BUY) == [(100 * USDC, ETH, 1)]
    assert chain.levels(SELL) == []


def test_a_market_order_sweeps_and_ends(chain: ChainBuilder) -> None:
    chain.run(
        place("alice", buy=1, at=100),
        place("bob", buy=1, at=99),
        mine(),
        place("carol", sell=5),
        mine(),
    )
    assert [t.price for t in chain.trades()] == [100 * USDC, 99 * USDC]
    assert chain.levels(BUY) == []
    assert chain.balance("carol", "WETH") == ((FORTUNE - 2) * ETH, 0)
    chain.run(place("carol", sell=5), mine())
    assert chain.refusals() == ["NoLiquidity"]


def test_a_market_order_buys_what_its_money_is_good_for(chain: ChainBuilder) -> None:
    chain.run(
        place("alice", sell=10, at=100),
        place("bob", buy=1, at=1),  # so that bob is known, and has an order of no consequence
        mine(),
        withdraw("bob", "USDC", FORTUNE - 1 - 250),
        mine(),
        place("bob", buy=10),
        mine(),
    )
    assert [t.quantity for t in chain.trades()] == [25 * ETH // 10]
    assert chain.balance("bob", "USDC") == (0, USDC)


@pytest.mark.parametrize(("market", "at"), [("WBTC-USDC", 60_000), ("WETH-IDRX", 40_000)])
def test_other_decimals_settle_to_the_unit(chain: ChainBuilder, market: str, at: int) -> None:
    chain.run(
        place("alice", sell="0.5", at=at, market=market),
        mine(),
        place("bob", buy="0.3", at=at, market=market),
        mine(),
    )
    quote = market.split("-")[1]
    decimals = {"USDC": 6, "IDRX": 2}[quote]
    paid = at * 3 * 10**decimals // 10
    assert chain.balance("bob", quote) == (FORTUNE * 10**decimals - paid, 0)
    assert chain.balance("alice", quote)[0] == FORTUNE * 10**decimals + paid - paid // 1000


def test_a_reorg_takes_back_the_trade(chain: ChainBuilder) -> None:
    chain.run(
        place("alice", sell=5, at=100, name="ask"), mine(), place("bob", buy=2, at=100), mine()
    )
    assert len(chain.trades()) == 1
    before = chain.chain.head.hash
    chain.run(fork(depth=1, instead=[mine()]))
    assert chain.trades() == []
    assert chain.chain.head.hash != before
    assert chain.order("ask")["filled"] == 0


def test_a_reorg_may_keep_the_trade(chain: ChainBuilder) -> None:
    chain.run(place("alice", sell=5, at=100), mine(), place("bob", buy=2, at=100), mine())
    (trade,) = chain.trades()
    height = chain.chain.head.number
    chain.run(fork(depth=2))
    assert chain.trades() == [trade]
    assert chain.chain.head.number == height + 1


def test_a_story_that_makes_no_sense_says_so(chain: ChainBuilder) -> None:
    with pytest.raises(StoryError, match="none of alice"):
        chain.run(place("mallory", sell=1, at=1))
    with pytest.raises(StoryError, match="more than 6 decimals"):
        chain.run(place("alice", sell=1, at="0.0000001"))
    with pytest.raises(StoryError, match="nobody placed"):
        chain.run(cancel("alice", "that one"))


def test_sentences_also_drive_a_served_devnet(
    devnet: RunningDevnet, devnet_chain: ChainBuilder
) -> None:
    devnet_chain.run(place("alice", sell=1, at=100), mine())
    assert devnet_chain.levels(SELL) == [(100 * USDC, ETH, 1)]
    assert devnet.deployment["contracts"]["pool_manager"].startswith("0x")
