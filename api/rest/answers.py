"""Answers in Binance's words: exact names, types and order of fields. Amounts are decimal text."""

from typing import Any

import msgspec

PriceLevel = tuple[str, str]
"""A price and the quantity there."""


class Depth(msgspec.Struct, rename="camel"):
    last_update_id: int
    bids: list[PriceLevel]
    asks: list[PriceLevel]


class Trade(msgspec.Struct, rename="camel"):
    id: int
    price: str
    qty: str
    quote_qty: str
    time: int
    is_buyer_maker: bool
    is_best_match: bool = True


class AggTrade(msgspec.Struct):
    a: int
    p: str
    q: str
    f: int
    l: int  # noqa: E741  # Binance's name
    T: int
    m: bool
    M: bool = True


Kline = tuple[int, str, str, str, str, str, int, str, int, str, str, str]
"""Open time, open, high, low, close, volume, close time, quote volume, trades, taker's two."""


class Nothing(msgspec.Struct):
    """`{}`."""


class ServerTime(msgspec.Struct, rename="camel"):
    server_time: int


class AvgPrice(msgspec.Struct, rename="camel"):
    mins: int
    price: str
    close_time: int


def _ticker(name: str, *texts: str) -> type[msgspec.Struct]:
    """A ticker of a window: a symbol, these amounts, and what it was summed over."""
    numbers = ("open_time", "close_time", "first_id", "last_id", "count")
    fields = [(field, str) for field in ("symbol", *texts)] + [(field, int) for field in numbers]
    return msgspec.defstruct(name, fields, rename="camel")


_CHANGE = ("price_change", "price_change_percent", "weighted_avg_price")
_RANGE = ("open_price", "high_price", "low_price")
_SUMS = ("volume", "quote_volume")
_BEST = ("bid_price", "bid_qty", "ask_price", "ask_qty")

MiniTicker = _ticker("MiniTicker", *_RANGE, "last_price", *_SUMS)
WindowTicker = _ticker("WindowTicker", *_CHANGE, *_RANGE, "last_price", *_SUMS)
DayTicker = _ticker(
    "DayTicker", *_CHANGE, "prev_close_price", "last_price", "last_qty", *_BEST, *_RANGE, *_SUMS
)


class PriceTicker(msgspec.Struct):
    symbol: str
    price: str


class BookTicker(msgspec.Struct, rename="camel"):
    symbol: str
    bid_price: str
    bid_qty: str
    ask_price: str
    ask_qty: str


class PriceFilter(msgspec.Struct, rename="camel"):
    filter_type: str
    min_price: str
    max_price: str
    tick_size: str


class LotSize(msgspec.Struct, rename="camel"):
    filter_type: str
    min_qty: str
    max_qty: str
    step_size: str


class Notional(msgspec.Struct, rename="camel"):
    filter_type: str
    min_notional: str
    apply_min_to_market: bool
    max_notional: str
    apply_max_to_market: bool
    avg_price_mins: int


class SymbolInfo(msgspec.Struct, rename="camel"):
    symbol: str
    status: str
    base_asset: str
    base_asset_precision: int
    quote_asset: str
    quote_precision: int
    quote_asset_precision: int
    base_commission_precision: int
    quote_commission_precision: int
    filters: list[Any]
    order_types: list[str] = msgspec.field(
        default_factory=lambda: ["LIMIT", "LIMIT_MAKER", "MARKET"]
    )
    iceberg_allowed: bool = False
    oco_allowed: bool = False
    oto_allowed: bool = False
    quote_order_qty_market_allowed: bool = True
    allow_trailing_stop: bool = False
    cancel_replace_allowed: bool = False
    is_spot_trading_allowed: bool = True
    is_margin_trading_allowed: bool = False
    permissions: list[str] = []
    permission_sets: list[list[str]] = msgspec.field(default_factory=lambda: [["SPOT"]])
    default_self_trade_prevention_mode: str = "NONE"
    allowed_self_trade_prevention_modes: list[str] = msgspec.field(default_factory=lambda: ["NONE"])


class ExchangeInfo(msgspec.Struct, rename="camel"):
    timezone: str
    server_time: int
    rate_limits: list[dict[str, Any]]
    exchange_filters: list[dict[str, Any]]
    symbols: list[SymbolInfo]


class Order(msgspec.Struct, rename="camel"):
    symbol: str
    order_id: int
    order_list_id: int
    client_order_id: str
    price: str
    orig_qty: str
    executed_qty: str
    cummulative_quote_qty: str
    status: str
    time_in_force: str
    type: str
    side: str
    stop_price: str
    iceberg_qty: str
    time: int
    update_time: int
    is_working: bool
    working_time: int
    orig_quote_order_qty: str
    self_trade_prevention_mode: str


class MyTrade(msgspec.Struct, rename="camel"):
    symbol: str
    id: int
    order_id: int
    order_list_id: int
    price: str
    qty: str
    quote_qty: str
    commission: str
    commission_asset: str
    time: int
    is_buyer: bool
    is_maker: bool
    is_best_match: bool = True


class CommissionRates(msgspec.Struct):
    maker: str
    taker: str
    buyer: str
    seller: str


class AssetBalance(msgspec.Struct):
    asset: str
    free: str
    locked: str


class Account(msgspec.Struct, rename="camel"):
    maker_commission: int
    taker_commission: int
    buyer_commission: int
    seller_commission: int
    commission_rates: CommissionRates
    can_trade: bool
    can_withdraw: bool
    can_deposit: bool
    brokered: bool
    require_self_trade_prevention: bool
    prevent_sor: bool
    update_time: int
    account_type: str
    balances: list[AssetBalance]
    permissions: list[str]
    uid: int
