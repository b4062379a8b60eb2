"""Portfolios of a recorded chain, against the mirror's own balances and the laws of accounting."""

from collections import Counter
from decimal import Decimal

import pytest

from indexer.domain.units import Address
from tests.analytics.served import Get
from tests.indexed import Indexed


@pytest.fixture(scope="session")
def busiest(indexed: Indexed) -> Address:
    """The account with most trades."""
    count = Counter(one for trade in indexed.trades for one in (trade.maker, trade.taker))
    return count.most_common(1)[0][0]


def _accounts(indexed: Indexed) -> list[Address]:
    """Six: enough for the fee receiver, makers and takers."""
    return sorted({account for account, _ in indexed.mirror.ledger.balances.rows})[:6]


async def test_quantities_are_the_chains_balances(get: Get, indexed: Indexed) -> None:
    for account in _accounts(indexed):
        answer = await get(f"/api/portfolio/{account}")
        told = {one["address"]: one for one in answer["positions"]}
        for (holder, token), balance in indexed.mirror.ledger.balances.rows.items():
            if holder == account and (balance.deposited or balance.available):
                position = told[token]
                unit = indexed.mirror.tokens.rows[token].unit
                held = Decimal(balance.available + balance.locked) / unit
                assert Decimal(position["quantity"]) == held
                assert Decimal(position["locked"]) == Decimal(balance.locked) / unit


async def test_profit_is_value_less_flows_whatever_the_method(get: Get, indexed: Indexed) -> None:
    computed = 0
    for account in _accounts(indexed):
        answer = await get(f"/api/portfolio/{account}/pnl", method="wac")
        totals = answer["totals"]
        sums = {one["pnl"] for one in answer["methods"].values()}
        assert len(sums) == 1
        if totals["pnl"] is None:
            assert totals["reason"]
            continue
        computed += 1
        assert Decimal(totals["pnl"]) == Decimal(totals["value"]) - Decimal(totals["net_flows"])
        assert Decimal(totals["pnl"]) == Decimal(totals["realised"]) + Decimal(totals["unrealised"])
    assert computed > 1


async def test_methods_move_gain_between_realised_and_unrealised(
    get: Get, busiest: Address
) -> None:
    methods = (await get(f"/api/portfolio/{busiest}/pnl"))["methods"]
    assert len({one["realised"] for one in methods.values()}) > 1


async def test_every_fill_is_told_once(get: Get, indexed: Indexed, busiest: Address) -> None:
    found: list[tuple[int, int, str]] = []
    after = None
    while True:
        page = {"limit": 50} if after is None else {"limit": 50, "after": after}
        answer = await get(f"/api/portfolio/{busiest}/fills", **page)
        found += [(one["block"], one["log_index"], one["role"]) for one in answer["entries"]]
        after = answer["next"]
        if after is None:
            break
    expected = [
        (trade.block_number, trade.log_index, role)
        for trade in indexed.trades
        for role, account in (("maker", trade.maker), ("taker", trade.taker))
        if account == busiest
    ]
    assert sorted(found) == sorted(expected)
    assert [one[:2] for one in found] == sorted((one[:2] for one in found), reverse=True)


async def test_a_past_block_is_answered_as_it_was(get: Get, indexed: Indexed) -> None:
    trade = indexed.trades[len(indexed.trades) // 2]
    path = f"/api/portfolio/{trade.taker}/fills"
    before = await get(path, block=trade.block_number - 1)
    after = await get(path, block=trade.block_number)
    assert before["as_of"]["number"] == trade.block_number - 1
    newest = [(one["block"], one["log_index"]) for one in after["entries"]]
    assert (trade.block_number, trade.log_index) in newest
    assert all(one["block"] < trade.block_number for one in before["entries"])


async def test_lots_cover_the_position_and_explain_adds_up(get: Get, busiest: Address) -> None:
    answer = await get(f"/api/portfolio/{busiest}", explain="true")
    for position in answer["positions"]:
        why = answer["explain"][position["token"]]
        held = sum(Decimal(lot["quantity"]) for lot in why["lots"])
        assert held == Decimal(position["quantity"])
        if position["cost"] is not None:
            assert sum(Decimal(lot["cost"]) for lot in why["lots"]) == Decimal(position["cost"])
            gains = sum(Decimal(one["realised"]) for one in why["disposals"])
            assert gains == Decimal(position["realised"])


async def test_equity_ends_at_the_portfolios_value(get: Get, busiest: Address) -> None:
    totals = (await get(f"/api/portfolio/{busiest}"))["totals"]
    for interval in ("block", "hour", "day"):
        curve = (await get(f"/api/portfolio/{busiest}/equity", interval=interval))["equity"]
        assert curve[-1]["value"] == totals["value"]
        if interval != "block":  # the whole history fits a page
            assert sum(Decimal(one["flow"]) for one in curve) == Decimal(totals["net_flows"])


async def test_performance_risk_fees_orders_and_allocation(get: Get, busiest: Address) -> None:
    performance = await get(f"/api/portfolio/{busiest}/performance")
    assert performance["time_weighted_return"] is not None
    volumes = [Decimal(performance[f"{role}_volume"]) for role in ("maker", "taker")]
    assert max(volumes) > 0
    risk = await get(f"/api/portfolio/{busiest}/risk", interval="hour")
    assert risk["observations"] >= 2
    assert 0 <= risk["max_drawdown"] < 1
    day = await get(f"/api/portfolio/{busiest}/risk")
    assert day["sharpe"] is None
    assert day["reason"]
    fees = await get(f"/api/portfolio/{busiest}/fees")
    assert fees["gas"] is None
    assert fees["gas_reason"]
    assert sum(one["fills"] for one in fees["fees"]) == performance["trades"]
    orders = await get(f"/api/portfolio/{busiest}/orders", limit=1000)
    assert orders["orders"]
    weights = (await get(f"/api/portfolio/{busiest}/allocation"))["allocation"]
    assert abs(sum(float(one["weight"]) for one in weights) - 1) < 1e-9


async def test_open_orders_are_the_mirrors(get: Get, indexed: Indexed, busiest: Address) -> None:
    answer = await get(f"/api/portfolio/{busiest}/orders", status="open", limit=1000)
    expected = {
        order.order_id
        for book in indexed.mirror.books.values()
        for order in book.orders.rows.values()
        if order.account == busiest and order.working
    }
    assert {one["order_id"] for one in answer["orders"]} == expected


@pytest.mark.parametrize("mark", ["last", "executable"])
async def test_other_marks(get: Get, busiest: Address, mark: str) -> None:
    answer = await get(f"/api/portfolio/{busiest}", mark=mark)
    for position in answer["positions"]:
        assert (position["value"] is None) == (position["reason"] is not None)


async def test_without_a_path_of_markets_figures_are_null_with_a_reason(
    get: Get, indexed: Indexed, busiest: Address
) -> None:
    block = min(one.created_block for one in indexed.mirror.markets.rows.values())
    first = min(trade.block_number for trade in indexed.trades)
    assert block < first
    answer = await get(f"/api/portfolio/{busiest}", mark="last", block=first - 1)
    unknown = [one for one in answer["positions"] if one["value"] is None]
    assert unknown
    assert all(one["pnl"] is None and one["reason"] for one in unknown)
    assert answer["totals"]["pnl"] is None
