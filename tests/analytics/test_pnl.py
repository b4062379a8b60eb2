"""Profit of another venue's fills: vectors by hand, and the laws of every method and sign."""

from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics import pnl
from analytics.lots import METHODS, Inventory, Method, Origin
from analytics.pnl import Fees, Fill, Outcome, replay, unrealised

VECTOR = [
    Fill("buy", 100, 10),
    Fill("buy", 120, 10),
    Fill("sell", 130, 12),
    Fill("buy", 90, 8),
    Fill("sell", 110, 6),
]


@pytest.mark.parametrize(
    ("method", "realised", "later"),
    [("fifo", 260, 90), ("lifo", 280, 70), ("hifo", 220, 130), ("wac", 300, 50)],
)
def test_the_published_vector_and_its_mirror(method: Method, realised: int, later: int) -> None:
    """The mirror sells where the vector buys, at prices as far on the other side of 300."""
    mirrored = [
        Fill("sell" if one.side == "buy" else "buy", 300 - Fraction(one.price), one.quantity)
        for one in VECTOR
    ]
    for fills, mark in ((VECTOR, 105), (mirrored, 300 - 105)):
        outcomes = replay(fills, method)
        assert sum(one.realised for one in outcomes) == realised
        assert unrealised(outcomes[-1], mark) == later


def test_a_perpetual_position_is_averaged_reduced_and_flipped() -> None:
    """Entry 30,100 after two buys; the sale of 3 closes 2 and opens a short of 1 at 30,400."""
    fills = [
        Fill("buy", "30000", "1", "12", "USDT"),
        Fill("buy", "30200", "1", "12.08", "USDT"),
        Fill("sell", "30400", "3", "36.48", "USDT"),
        Fill("buy", "30150.5", "0.4", "4.82408", "USDT"),
        Fill("buy", "30500", "0.6", "-0.01", "BNB"),
    ]
    outcomes = replay(fills, "wac", quote="USDT")
    told = [(one.realised, one.closed, one.position, one.entry) for one in outcomes]
    assert told == [
        (0, 0, 1, 30000),
        (0, 0, 2, 30100),
        (600, 2, -1, 30400),
        (Fraction(Decimal("99.8")), Fraction(2, 5), Fraction(-3, 5), 30400),
        (-60, Fraction(3, 5), 0, None),
    ]
    assert [(one.fee, one.fee_asset) for one in outcomes][-1] == (Fraction(-1, 100), "BNB")


def test_a_fee_is_part_of_cost_and_proceeds_where_that_is_asked_for() -> None:
    fills = [
        Fill("buy", "100", "10", "0.01", "ETH"),  # 9.99 arrive for 1,000
        Fill("sell", "110", "9.99", "1.0989"),  # 1,098.9 less the fee
    ]
    outcomes = replay(fills, "fifo", "capitalised", base="ETH")
    assert outcomes[0].entry == Fraction(1000) / Fraction("9.99")
    assert outcomes[1].realised == Fraction("1097.8011") - 1000
    assert outcomes[1].position == 0


def test_the_readmes_example_says_what_it_does() -> None:
    text = Path(pnl.__file__).with_name("README.md").read_text()
    code = text.partition("```python\n")[2].partition("```")[0].rstrip()
    *lines, last = code.splitlines()
    expression, _, expected = last.partition("#")
    names: dict[str, Any] = {}
    exec("\n".join(lines), names)
    assert str(tuple(map(int, eval(expression, names)))) == f"({expected.strip()})"


def test_what_is_not_exact_is_refused() -> None:
    with pytest.raises(ValueError, match="float"):
        replay([Fill("buy", 0.1, 1)], "fifo")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="above 0"):
        replay([Fill("buy", 1, 0)], "fifo")


_numbers = st.decimals("0.001", 10**6, places=3)
_fills = st.lists(
    st.builds(
        Fill,
        st.sampled_from(["buy", "sell"]),
        _numbers,
        _numbers,
        st.decimals(-1, 1, places=4),
    ),
    max_size=25,
)


def cash(fills: list[Fill]) -> Fraction:
    signs = {"buy": -1, "sell": 1}
    return sum(
        (signs[f.side] * Fraction(f.price) * Fraction(f.quantity) for f in fills), Fraction(0)
    )


@given(_fills, _numbers, st.sampled_from(["apart", "capitalised"]))
def test_realised_and_unrealised_are_the_cash_and_the_positions_worth(
    fills: list[Fill], mark: Decimal, fees: Fees
) -> None:
    """For every method the same, and lots never stand on both sides."""
    for method in METHODS:
        outcomes = replay(fills, method, fees)
        if not outcomes:
            continue
        last = outcomes[-1]
        sum_ = sum(one.realised for one in outcomes) + unrealised(last, mark)
        paid = sum(one.fee for one in outcomes) if fees == "capitalised" else 0
        assert sum_ == cash(fills) + last.position * Fraction(mark) - paid
        assert sum(lot.quantity for lot in last.lots) == abs(last.position)
        assert all(lot.quantity > 0 for lot in last.lots)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 50), st.integers(1, 99)), max_size=20))
def test_long_positions_are_the_inventorys(steps: list[tuple[bool, int, int]]) -> None:
    """With whole unit costs (no averaging) the service's own lots realise the same."""
    for method in ("fifo", "lifo", "hifo"):
        inventory, fills = Inventory(method), []
        for index, (buys, quantity, price) in enumerate(steps):
            quantity = quantity if buys else min(quantity, inventory.quantity)
            if not quantity:
                continue
            fills.append(Fill("buy" if buys else "sell", price, quantity))
            move: Any = inventory.acquire if buys else inventory.dispose
            move(quantity, quantity * price, Origin(index, 0))
        outcomes: list[Outcome] = replay(fills, method)
        assert sum(one.realised for one in outcomes) == inventory.realised
