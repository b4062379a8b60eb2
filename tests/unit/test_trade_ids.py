"""Trades have numbers, and one taker's at one price are told as one."""

from indexer.domain.order import Side, Trade
from indexer.domain.trade_ids import aggregate, origin_of, trade_id
from indexer.domain.units import Address, Amount, Hash, Price, Quantity

MARKET = Address("0x" + "a1" * 20)


def test_a_trades_number_is_exact_in_a_float() -> None:
    far = trade_id(2**33 - 1, 2**20 - 1)
    assert far == 2**53 - 1
    assert int(float(far)) == far
    assert origin_of(far) == (2**33 - 1, 2**20 - 1)


def trade(block: int, log: int, price: int, taker: int, side: Side = "buy") -> Trade:
    return Trade(
        MARKET,
        block,
        log,
        Hash("0x"),
        block * 10,
        Price(price),
        Quantity(2),
        Amount(2 * price),
        side,
        1000 + log,
        taker,
        MARKET,
        MARKET,
        None,
        None,
    )


def test_one_taker_at_one_price_is_one_aggregate() -> None:
    trades = [
        trade(5, 1, 100, 7),
        trade(5, 2, 100, 7),
        trade(5, 3, 101, 7),
        trade(5, 9, 101, 8, "sell"),
        trade(6, 1, 101, 8, "sell"),
        trade(6, 2, 100, 8, "sell"),
        trade(6, 3, 101, 8, "sell"),
    ]
    found = list(aggregate(trades))
    assert [(one.first_id, one.last_id, one.price, one.quantity) for one in found] == [
        (trade_id(5, 1), trade_id(5, 2), 100, 4),
        (trade_id(5, 3), trade_id(5, 3), 101, 2),
        (trade_id(5, 9), trade_id(5, 9), 101, 2),
        (trade_id(6, 1), trade_id(6, 1), 101, 2),
        (trade_id(6, 2), trade_id(6, 2), 100, 2),
        (trade_id(6, 3), trade_id(6, 3), 101, 2),
    ]
    assert sum(one.quote_amount for one in found) == sum(one.quote_amount for one in trades)
    assert list(aggregate([])) == []
