"""Numbers for trades, and trades told together as one."""

from collections.abc import Iterable, Iterator

import msgspec

from indexer.domain.order import Side, Trade
from indexer.domain.units import Address, Amount, Price, Quantity

LOG_INDEX_BITS = 20


def trade_id(block_number: int, log_index: int) -> int:
    """A trade's number: `block_number * 2**20 + log_index`.

    It orders a market's trades as the chain does and stays the same over restarts and rebuilds.
    Exact in a float up to block 2**33; no block has 2**20 logs (its gas would not do).
    """
    assert 0 <= log_index < 1 << LOG_INDEX_BITS, f"log index {log_index} is beyond a trade's number"
    return block_number << LOG_INDEX_BITS | log_index


def origin_of(number: int) -> tuple[int, int]:
    """The (block number, log index) that a trade's number stands for."""
    return number >> LOG_INDEX_BITS, number & ((1 << LOG_INDEX_BITS) - 1)


class AggregateTrade(msgspec.Struct, frozen=True):
    """What one taker order took at one price in one go, from however many makers.

    Its number is that of its first trade, so it is known as soon as the aggregate begins.
    """

    market: Address
    first_id: int
    last_id: int
    timestamp: int
    price: Price
    quantity: Quantity
    quote_amount: Amount
    taker_side: Side
    taker_order_id: int
    trades: int


def aggregate(trades: Iterable[Trade]) -> Iterator[AggregateTrade]:
    """Adjacent trades of one block, taker order and price as one; `trades` as the chain has them.

    All of one market. An aggregate never crosses a block, so a block's trades alone decide it.
    """
    pending: AggregateTrade | None = None
    for trade in trades:
        number = trade_id(trade.block_number, trade.log_index)
        if pending is not None and _continues(pending, trade):
            pending = msgspec.structs.replace(
                pending,
                last_id=number,
                quantity=pending.quantity + trade.quantity,
                quote_amount=pending.quote_amount + trade.quote_amount,
                trades=pending.trades + 1,
            )
            continue
        if pending is not None:
            yield pending
        pending = AggregateTrade(
            market=trade.market,
            first_id=number,
            last_id=number,
            timestamp=trade.timestamp,
            price=trade.price,
            quantity=trade.quantity,
            quote_amount=trade.quote_amount,
            taker_side=trade.taker_side,
            taker_order_id=trade.taker_order_id,
            trades=1,
        )
    if pending is not None:
        yield pending


def _continues(pending: AggregateTrade, trade: Trade) -> bool:
    assert trade.market == pending.market, f"{trade.market} among trades of {pending.market}"
    return (
        trade.taker_order_id == pending.taker_order_id
        and trade.price == pending.price
        and trade.block_number == origin_of(pending.first_id)[0]
    )
