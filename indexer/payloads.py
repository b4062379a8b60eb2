"""What a message says of one record: its fields, amounts as text in contract units."""

from typing import Any

from indexer.domain.balance import Balance
from indexer.domain.block import BlockRef
from indexer.domain.change import OrderChange
from indexer.domain.order import Candle, Level, Order, Trade


def block_data(block: BlockRef) -> dict[str, Any]:
    return {"number": block.number, "hash": block.hash}


def level_data(level: Level) -> list[str | int]:
    return [str(level.price), str(level.quantity), level.order_count]


def trade_data(trade: Trade) -> dict[str, Any]:
    return {
        "block_number": trade.block_number,
        "log_index": trade.log_index,
        "timestamp": trade.timestamp,
        "price": str(trade.price),
        "quantity": str(trade.quantity),
        "quote_amount": str(trade.quote_amount),
        "taker_side": trade.taker_side,
        "maker_order_id": trade.maker_order_id,
        "taker_order_id": trade.taker_order_id,
        "maker": trade.maker,
        "taker": trade.taker,
        "maker_fee": _text(trade.maker_fee),
        "taker_fee": _text(trade.taker_fee),
        "verified": trade.verified,
    }


def order_data(order: Order | None) -> dict[str, Any] | None:
    if order is None:
        return None
    return {
        "side": order.side,
        "type": order.type,
        "time_in_force": order.time_in_force,
        "price": str(order.price),
        "quantity": str(order.quantity),
        "quantity_in_quote": order.quantity_in_quote,
        "filled": str(order.filled),
        "quote_filled": str(order.quote_filled),
        "status": order.status,
        "expiry": order.expiry,
        "placed_at": order.placed_at,
    }


def balance_data(balance: Balance | None) -> dict[str, Any] | None:
    if balance is None:
        return None
    return {
        "available": str(balance.available),
        "locked": str(balance.locked),
        "deposited": str(balance.deposited),
        "withdrawn": str(balance.withdrawn),
    }


def candle_data(candle: Candle | None) -> dict[str, Any] | None:
    if candle is None:
        return None
    return {
        "open": str(candle.open),
        "high": str(candle.high),
        "low": str(candle.low),
        "close": str(candle.close),
        "volume": str(candle.volume),
        "quote_volume": str(candle.quote_volume),
        "taker_buy_volume": str(candle.taker_buy_volume),
        "taker_buy_quote_volume": str(candle.taker_buy_quote_volume),
        "trades": candle.trades,
    }


def report_data(change: OrderChange, order: Order) -> dict[str, Any]:
    """One event of one order with what a private feed needs to know of it."""
    return {
        "order_id": change.order_id,
        "account": change.account,
        "kind": change.kind,
        "status": change.status,
        "filled": str(change.filled),
        "quote_filled": str(change.quote_filled),
        "side": order.side,
        "type": order.type,
        "time_in_force": order.time_in_force,
        "price": str(order.price),
        "quantity": str(order.quantity),
        "placed_at": order.placed_at,
        "trade_price": _text(change.trade_price),
        "trade_quantity": _text(change.trade_quantity),
        "trade_quote_amount": _text(change.trade_quote_amount),
        "trade_fee": _text(change.trade_fee),
        "is_maker": change.is_maker,
    }


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)
