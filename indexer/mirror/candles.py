"""Candles: one-minute sums of trades, folded like everything else."""

from indexer.domain.order import CANDLE_SECONDS, Candle, Trade
from indexer.domain.units import Address
from indexer.mirror.records import Records

CandleKey = tuple[Address, int]


def add_trade(candles: Records[CandleKey, Candle], trade: Trade) -> None:
    """Put a trade into its minute. Trades must come in chain order: the last one is the close."""
    open_time = trade.timestamp - trade.timestamp % CANDLE_SECONDS
    key = (trade.market, open_time)
    if key in candles:
        candle = candles.touch(key)
    else:
        price = trade.price
        candle = candles.add(key, Candle(trade.market, open_time, price, price, price, price))
    candle.high = max(candle.high, trade.price)
    candle.low = min(candle.low, trade.price)
    candle.close = trade.price
    candle.volume += trade.quantity
    candle.quote_volume += trade.quote_amount
    candle.trades += 1
    if trade.taker_side == "buy":
        candle.taker_buy_volume += trade.quantity
        candle.taker_buy_quote_volume += trade.quote_amount
