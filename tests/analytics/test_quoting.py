"""How makers quoted, by hand."""

from fractions import Fraction

import pytest

from analytics import quoting
from analytics.quoting import QuoteRow, lives, quoted, uptime
from indexer.domain.units import Address

ONE, TWO = Address("0x1"), Address("0x2")
UNIT = 10


def row(who: Address, side: str, number: int, block: int, status: str, **of: int) -> QuoteRow:
    price, quantity, filled = of.get("price", 1000), of.get("quantity", 50), of.get("filled", 0)
    return QuoteRow(who, side, number, block, status, price, quantity, filled)  # type: ignore[arg-type]


ROWS = [
    row(ONE, "buy", 1, 10, "open", price=995),
    row(TWO, "buy", 9, 10, "open"),
    row(ONE, "sell", 2, 12, "partially_filled", price=1005, filled=20),
    row(ONE, "buy", 1, 15, "cancelled", price=995),
    row(ONE, "buy", 3, 18, "open", price=980),
]
MIDS = [(10, Fraction(1000)), (19, Fraction(992))]


def test_uptime_counts_blocks_on_both_sides() -> None:
    assert uptime(ROWS, 10, 19) == {ONE: Fraction(3 + 2, 10)}
    assert uptime(ROWS, 14, 19) == {ONE: Fraction(1 + 2, 6)}
    assert uptime([], 5, 4) == {}


def test_what_became_of_orders() -> None:
    found = lives(ROWS, 10, 20)
    assert (found[ONE].placed, found[TWO].placed) == (3, 1)
    assert found[ONE].fill_ratio == Fraction(20, 150)
    assert found[ONE].mean_life == Fraction(5 + 8 + 2, 3)
    assert found[TWO].mean_life == 10
    assert lives(ROWS, 12, 20)[ONE].placed == 2  # the first was placed before


def test_a_score_is_uptime_times_depth_by_spread_within_reach_of_mid() -> None:
    """Blocks 12 to 14 at mid 1000; from 18 the bid is 2% away; at 19 the ask is 1.3% away."""
    found = quoted(ROWS, MIDS, UNIT, 10, 20)
    assert found is not None
    assert found.keys() == {ONE}
    depth = 50 * 995 // UNIT + 30 * 1005 // UNIT
    assert (found[ONE].blocks, found[ONE].depth) == (3, 3 * depth)
    assert found[ONE].spread == 3 * Fraction(100)
    assert found[ONE].score(10, 1) == Fraction(3, 10) * depth / 100
    later = quoted(ROWS, MIDS, UNIT, 14, 20)
    assert later is not None
    assert later[ONE].blocks == 1


def test_too_many_quotes_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quoting, "MAX_QUOTE_STEPS", 2)
    assert quoted(ROWS, MIDS, UNIT, 10, 20) is None
