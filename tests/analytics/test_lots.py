"""Inventory: the published vector, and the laws that hold for every method."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.lots import METHODS, Inventory, Lot, Method, Origin


def _run(method: Method) -> Inventory:
    inventory = Inventory(method)
    steps = [(10, 100), (10, 120), (-12, 130), (8, 90), (-6, 110)]
    for index, (quantity, price) in enumerate(steps):
        origin = Origin(index, 0)
        if quantity > 0:
            inventory.acquire(quantity, quantity * price, origin)
        else:
            inventory.dispose(-quantity, -quantity * price, origin)
    return inventory


@pytest.mark.parametrize(
    ("method", "realised", "unrealised", "lots"),
    [
        ("fifo", 260, 90, [(2, 120), (8, 90)]),
        ("lifo", 280, 70, [(8, 100), (2, 90)]),
        ("wac", 300, 50, [(10, 100)]),
        ("hifo", 220, 130, [(2, 100), (8, 90)]),  # by hand: 10@120, 2@100; then 6@100
    ],
)
def test_the_vector(
    method: Method, realised: int, unrealised: int, lots: list[tuple[int, int]]
) -> None:
    inventory = _run(method)
    assert inventory.realised == realised
    assert 10 * 105 - inventory.cost == unrealised
    assert [(lot.quantity, lot.cost // lot.quantity) for lot in inventory.lots] == lots


def test_a_part_of_a_lot_leaves_no_cost_behind() -> None:
    inventory = Inventory("fifo")
    inventory.acquire(3, 10, Origin(1, 0))
    first = inventory.dispose(1, 0, Origin(2, 0))
    assert (first.cost, inventory.lots) == (3, [Lot(2, 7, Origin(1, 0))])


def test_what_no_lot_held_is_counted() -> None:
    inventory = Inventory("wac")
    inventory.acquire(1, 5, Origin(1, 0))
    inventory.dispose(3, 30, Origin(2, 0))
    assert (inventory.quantity, inventory.uncovered) == (0, 2)


_steps = st.lists(st.tuples(st.booleans(), st.integers(1, 10**30), st.integers(0, 10**30)))


@given(_steps, st.integers(0, 10**60))
def test_the_sum_of_realised_and_unrealised_is_the_same_for_all_methods(
    steps: list[tuple[bool, int, int]], value: int
) -> None:
    sums = set()
    for method in METHODS:
        inventory, spent, got = Inventory(method), 0, 0
        for index, (buys, quantity, amount) in enumerate(steps):
            if buys:
                inventory.acquire(quantity, amount, Origin(index, 0))
                spent += amount
            elif held := min(quantity, inventory.quantity):
                inventory.dispose(held, amount, Origin(index, 0))
                got += amount
        total = inventory.realised + value - inventory.cost
        assert total == got - spent + value
        assert inventory.quantity == sum(lot.quantity for lot in inventory.lots)
        assert inventory.cost == sum(lot.cost for lot in inventory.lots)
        assert inventory.realised == sum(one.realised for one in inventory.disposals)
        assert all(lot.quantity > 0 and lot.cost >= 0 for lot in inventory.lots)
        sums.add((total, inventory.quantity))
    assert len(sums) == 1


def test_hifo_has_its_lots_dearest_first_and_equals_in_order_of_arrival() -> None:
    inventory = Inventory("hifo")
    for index, price in enumerate([5, 9, 5, 1, 9, 5]):
        inventory.acquire(2 * index + 1, (2 * index + 1) * price, Origin(index, 0))
    assert [lot.opened.block_number for lot in inventory.lots] == [1, 4, 0, 2, 5, 3]
