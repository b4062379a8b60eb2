"""Laws of accounting, for any journal and any prices."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from analytics.journal import Entry, Exchange, Flow
from analytics.lots import METHODS, Origin
from analytics.marks import Marks, Priced, Series
from analytics.portfolio import equity, fold
from indexer.domain.market import Market
from indexer.domain.order import Side, Trade
from indexer.domain.units import Address, Amount, Hash, Price, Quantity, quote_amount

BASE, QUOTE, PAIR, ME, YOU = (Address(f"0x{name}") for name in ("b", "c", "a", "e", "f"))
UNIT, LAST = 1000, 40
MARKET = Market(PAIR, "B-C", Hash("0x1"), BASE, QUOTE, 0, 0)

_flow = st.tuples(st.just("flow"), st.booleans(), st.integers(-(10**6), 10**6))
_trade = st.tuples(st.just("trade"), st.booleans(), st.integers(1, 10**5))
_steps = st.lists(st.one_of(_flow, _trade), max_size=LAST - 1)
_prices = st.lists(st.integers(1, 10**4), min_size=1, max_size=LAST)


def exchange(number: int, buys: bool, quantity: int, price: int, fee: int) -> Exchange:
    amount = quote_amount(quantity, price, UNIT)
    paid, got = ((QUOTE, amount), (BASE, quantity)) if buys else ((BASE, quantity), (QUOTE, amount))
    trade = Trade(
        *(PAIR, number, 0, Hash("0x2"), number, Price(price), Quantity(quantity), amount),
        *("sell" if buys else "buy", 1, 2, ME, YOU, Amount(fee), None),
    )
    origin = Origin(number, 0)
    side: Side = "buy" if buys else "sell"
    return Exchange(origin, number, trade, "maker", side, *paid, got[0], got[1] - fee, fee)


def journal(steps: list[tuple[str, bool, int]], prices: list[int]) -> list[Entry]:
    """One entry a block, after enough of both tokens has come to give away."""
    entries: list[Entry] = [
        Flow(Origin(0, at), 0, token, 10**9, "deposit") for at, token in enumerate((BASE, QUOTE))
    ]
    for number, (kind, flag, amount) in enumerate(steps, 1):
        price = prices[min(number, len(prices) - 1)] + number
        if kind == "trade":
            got = amount if flag else quote_amount(amount, price, UNIT)
            entries.append(exchange(number, flag, amount, price, got // 50))
        elif amount:
            token = BASE if flag else QUOTE
            entries.append(Flow(Origin(number, 0), number, token, amount, "transfer"))
    return entries


def marks(prices: list[int]) -> Marks:
    rows = [Priced(number, Fraction(price, 2), number) for number, price in enumerate(prices, 3)]
    return Marks(QUOTE, [MARKET], {BASE: UNIT}, {PAIR: Series(PAIR, rows)})


@given(_steps, _prices, st.integers(0, LAST), st.integers(0, LAST))
def test_equity_changes_by_profit_and_flows_and_methods_agree(
    steps: list[tuple[str, bool, int]], prices: list[int], one: int, two: int
) -> None:
    known, entries = marks(prices), journal(steps, prices)
    ends = sorted((one, two))
    sums = set()
    for method in METHODS:
        told = []
        for end in ends:
            past = [entry for entry in entries if entry.origin.block_number <= end]
            results = fold(past, known, method, end).values()
            assert all(each.reason is None for each in results)
            told.append(
                [
                    sum(getattr(each, name) for each in results)
                    for name in ("value", "pnl", "net_flows")
                ]
            )
        (value, pnl, flows), (later, more, after) = told
        assert later - value == (more - pnl) + (after - flows)
        sums.add((value, pnl, flows, later, more, after))
    assert len(sums) == 1
    points = equity(entries, known, [(end, end) for end in ends])
    assert [point.value for point in points] == [value, later]
    assert [point.flow for point in points] == [flows, after - flows]
