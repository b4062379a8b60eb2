"""Candles: one-minute sums of trades, folded like everything else."""

from indexer.domain.order import CANDLE_SECONDS, Candle, Trade
from indexer.domain.units import Address
from indexer.mirror.records import Records

CandleKey = tuple[Address, int]


def add_trade(candles: Records[CandleKey, Candle], trade: Trade) -> None:
    """Put a trade into its minute. Trades must come in chain order: the last one is the close."""
    price, quantity, amount = trade.price, trade.quantity, trade.quote_amount
    key = trade.market, trade.timestamp - trade.timestamp % CANDLE_SECONDS
    candle = candles.find(key)
    if candle is None:
        candle = candles.add(key, Candle(*key, price, price, price, price))
    elif price > candle.high:
        candle.high = price
    elif price < candle.low:
        candle.low = price
    candle.close = price
    candle.volume += quantity
    candle.quote_volume += amount
    candle.trades += 1
    if trade.taker_side == "buy":
        candle.taker_buy_volume += quantity
        candle.taker_buy_quote_volume += amount
