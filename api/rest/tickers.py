"""`/api/v3` tickers: rolling windows, counted back from the head block's timestamp.

A window ends with the head block and begins with the minute that holds its first second, so it is
up to 59 seconds longer than its name (as Binance's are). Where it holds no trade its prices are the
last price there was, its sums 0 and its trade numbers -1.
"""

import re
from typing import Any

from api import market_reads
from api.market_reads import Ticker
from api.rest import answers as a
from api.rest import errors
from api.rest import params as p
from api.rest.endpoint import Call, Endpoint
from indexer.domain.interval import DAY_S, open_time
from indexer.domain.listing import Listing

AVERAGE_MINUTES = 5

_WINDOW = re.compile(r"([1-9][0-9]?)([mhd])", re.ASCII)
_WINDOW_UNITS = {"m": (60, 59), "h": (3600, 23), "d": (DAY_S, 7)}


def _window(field: str, text: str) -> int:
    match = _WINDOW.fullmatch(text)
    if match is not None:
        seconds, most = _WINDOW_UNITS[match[2]]
        if int(match[1]) <= most:
            return int(match[1]) * seconds
    raise errors.invalid(field, "1m to 59m, 1h to 23h or 1d to 7d")


def _chosen(call: Call) -> tuple[list[Listing], bool]:
    """The markets asked for, and whether the answer is one of them rather than a list."""
    one, several = call["symbol"], call["symbols"]
    if one is not None and several is not None:
        raise errors.combination("symbol", "symbols")
    if one is not None:
        return [call.listing(one)], True
    if several is not None:
        return [call.listing(name) for name in several], False
    return list(call.directory), False


def first_minute(now: int, seconds: int) -> int:
    """Where a window of `seconds` before `now` begins."""
    return open_time("1m", now - seconds)


async def read(call: Call, listings: list[Listing], since: int) -> dict[Any, Ticker]:
    """Tickers of some markets by address."""
    chosen = None if len(listings) == len(call.directory) else [one.address for one in listings]
    return await market_reads.tickers(call.snapshot, since=since, markets=chosen)


async def _tickers(call: Call, since: int, *, full: type[Any]) -> Any:
    listings, single = _chosen(call)
    found = await read(call, listings, since)
    shape = a.MiniTicker if call["type"] == "MINI" else full
    rows = [_fields(call, one, found[one.address], since, shape) for one in listings]
    return rows[0] if single else rows


async def day(call: Call) -> Any:
    return await _tickers(call, first_minute(call.now, DAY_S), full=a.DayTicker)


async def trading_day(call: Call) -> Any:
    since = open_time("1d", call.now, call["timeZone"])
    return await _tickers(call, since, full=a.WindowTicker)


async def window(call: Call) -> Any:
    if call["symbol"] is None and call["symbols"] is None:
        raise errors.missing("symbol")
    return await _tickers(call, first_minute(call.now, call["windowSize"]), full=a.WindowTicker)


def _fields(call: Call, listing: Listing, found: Ticker, since: int, shape: type[Any]) -> Any:
    price, quantity = listing.price, listing.quantity
    last, opened = found.last_price or 0, found.open or 0
    traded = found.trades is not None and found.trades > 0
    values = {
        "symbol": call.symbol(listing),
        "price_change": price(last - opened),
        "price_change_percent": percent(last - opened, opened),
        "weighted_avg_price": price(
            average(found.volume, found.quote_volume, listing.base.unit) or 0
        ),
        "prev_close_price": price(found.before or 0),
        "last_price": price(last),
        "last_qty": quantity(found.last_quantity or 0),
        "bid_price": price(found.bid or 0),
        "bid_qty": quantity(found.bid_quantity or 0),
        "ask_price": price(found.ask or 0),
        "ask_qty": quantity(found.ask_quantity or 0),
        "open_price": price(opened),
        "high_price": price(last if found.high is None else found.high),
        "low_price": price(last if found.low is None else found.low),
        "volume": quantity(found.volume or 0),
        "quote_volume": listing.quote_amount(found.quote_volume or 0),
        "open_time": since * 1000,
        "close_time": call.now * 1000,
        "first_id": found.first_id if traded else -1,
        "last_id": found.last_id if traded else -1,
        "count": found.trades or 0,
    }
    return shape(**{name: values[name] for name in shape.__struct_fields__})


def percent(change: int, base: int) -> str:
    """A change in percent of `base`, three decimals, cut towards zero."""
    if base == 0:
        return "0.000"
    thousandths = abs(change) * 100_000 // base
    sign = "-" if change < 0 and thousandths else ""
    return f"{sign}{thousandths // 1000}.{thousandths % 1000:03d}"


def average(volume: int | None, quote_volume: int | None, base_unit: int) -> int | None:
    """The price that a volume was traded at on average, None where there was no trade."""
    if not volume or quote_volume is None:
        return None
    return quote_volume * base_unit // volume


async def prices(call: Call) -> Any:
    listings, single = _chosen(call)
    found = await read(call, listings, open_time("1m", call.now))
    rows = [
        a.PriceTicker(call.symbol(one), one.price(found[one.address].last_price or 0))
        for one in listings
    ]
    return rows[0] if single else rows


async def book_tickers(call: Call) -> Any:
    listings, single = _chosen(call)
    addresses = [one.address for one in listings]
    found = await market_reads.best_levels(call.snapshot, addresses)
    rows = []
    for one in listings:
        bid, bid_quantity, ask, ask_quantity = (n or 0 for n in found[one.address])
        rows.append(
            a.BookTicker(
                call.symbol(one),
                one.price(bid),
                one.quantity(bid_quantity),
                one.price(ask),
                one.quantity(ask_quantity),
            )
        )
    return rows[0] if single else rows


async def average_price(call: Call) -> a.AvgPrice:
    """The mean of the last minutes' trades; the last price where there were none."""
    listing = call.listing(call["symbol"])
    since = call.now - AVERAGE_MINUTES * 60
    volume, quote_volume = await market_reads.mean_price(call.snapshot, listing.address, since)
    newest = await market_reads.newest_trades(call.snapshot, listing.address, 1)
    mean = average(volume, quote_volume, listing.base.unit)
    if mean is None:
        mean = newest[0].price if newest else 0
    close_ms = newest[0].timestamp * 1000 if newest else 0
    return a.AvgPrice(AVERAGE_MINUTES, listing.price(mean), close_ms)


def _shapes(full: Any) -> tuple[Any, ...]:
    """What a ticker is told as: of one market or several, whole or not."""
    mini: Any = a.MiniTicker
    return full, mini, list[full], list[mini]


_TYPE = p.choice("type", ("FULL", "MINI"), "MINI leaves fields out.", "FULL")
_WHICH = (p.symbol(required=False), p.SYMBOLS)
_SIZE = p.Param(
    "windowSize",
    _window,
    {"type": "string", "default": "1d"},
    "1m to 59m, 1h to 23h, 1d to 7d.",
    default=DAY_S,
)

ENDPOINTS = (
    Endpoint(
        "/api/v3/avgPrice",
        average_price,
        a.AvgPrice,
        "The mean price of five minutes",
        (p.symbol(),),
    ),
    Endpoint(
        "/api/v3/ticker/24hr",
        day,
        _shapes(a.DayTicker),
        "Rolling 24 hours",
        (*_WHICH, _TYPE),
    ),
    Endpoint(
        "/api/v3/ticker/tradingDay",
        trading_day,
        _shapes(a.WindowTicker),
        "Since midnight",
        (*_WHICH, _TYPE, p.TIME_ZONE),
    ),
    Endpoint(
        "/api/v3/ticker",
        window,
        _shapes(a.WindowTicker),
        "A rolling window",
        (*_WHICH, _TYPE, _SIZE),
    ),
    Endpoint(
        "/api/v3/ticker/price", prices, (a.PriceTicker, list[a.PriceTicker]), "Last prices", _WHICH
    ),
    Endpoint(
        "/api/v3/ticker/bookTicker",
        book_tickers,
        (a.BookTicker, list[a.BookTicker]),
        "Best bids and asks",
        _WHICH,
    ),
)
