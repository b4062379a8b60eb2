"""Charts in TradingView's Universal Data Feed dialect.

Bars exist only where trades do: the library draws nothing between them. Prices and volumes are JSON
numbers here, because the library knows no others; their digits are written as they are, unrounded.
"""

from typing import Any

import msgspec

from api import account_reads, chain_reads, market_reads
from api.candles import read_candles
from api.rest import errors
from api.rest import params as p
from api.rest.endpoint import Assets, Call, Endpoint
from indexer.domain.interval import INTERVALS
from indexer.domain.listing import Listing
from indexer.domain.order import Trade
from indexer.domain.trade_ids import trade_id

RESOLUTIONS = {
    "1S": "1s",
    **{str(s // 60): name for name, s in INTERVALS.items() if 60 <= s < 86_400},
    "1D": "1d",
    "3D": "3d",
    "1W": "1w",
    "1M": "1M",
}
"""Resolution to interval. `D`, `W` and `M` are also understood."""

MAX_BARS = 5000
MAX_FOUND = 50
MAX_MARKS = 500
BIG_TIMES = 10
"""A trade this many times the mean of those on the chart is marked."""
MAX_SCALE_DIGITS = 12
EXCHANGE = "Tidebook"


class Exchange(msgspec.Struct):
    value: str
    name: str
    desc: str


class SymbolType(msgspec.Struct):
    name: str
    value: str


class Configuration(msgspec.Struct):
    supported_resolutions: list[str]
    exchanges: list[Exchange]
    symbols_types: list[SymbolType]
    supports_search: bool = True
    supports_group_request: bool = False
    supports_marks: bool = True
    supports_timescale_marks: bool = False
    supports_time: bool = True


class Symbol(msgspec.Struct):
    name: str
    ticker: str
    description: str
    exchange: str
    listed_exchange: str
    minmov: int
    pricescale: int
    volume_precision: int
    supported_resolutions: list[str]
    seconds_multipliers: list[str]
    type: str = "crypto"
    session: str = "24x7"
    timezone: str = "Etc/UTC"
    minmov2: int = 0
    pointvalue: int = 1
    has_intraday: bool = True
    has_seconds: bool = True
    has_daily: bool = True
    has_weekly_and_monthly: bool = True
    visible_plots_set: str = "ohlcv"
    format: str = "price"
    data_status: str = "streaming"


class Found(msgspec.Struct):
    symbol: str
    full_name: str
    description: str
    exchange: str
    ticker: str
    type: str = "crypto"


class Bars(msgspec.Struct, omit_defaults=True):
    s: str
    t: list[int] = []
    o: list[Any] = []
    h: list[Any] = []
    l: list[Any] = []  # noqa: E741  # the dialect's name
    c: list[Any] = []
    v: list[Any] = []
    nextTime: int | None = None  # noqa: N815  # the dialect's name


class Mark(msgspec.Struct):
    id: str
    time: int
    color: str
    text: str
    label: str
    labelFontColor: str = "white"  # noqa: N815
    minSize: int = 14  # noqa: N815


async def configuration(call: Call) -> Configuration:
    return Configuration(
        list(RESOLUTIONS), [Exchange("", EXCHANGE, "")], [SymbolType("crypto", "crypto")]
    )


def _description(call: Call, listing: Listing) -> str:
    assets = Assets(call.directory)
    return f"{assets.name(listing.base)} / {assets.name(listing.quote)}"


async def symbol(call: Call) -> Symbol:
    listing = call.listing(call["symbol"])
    step = listing.price(listing.market.tick_size or 1)
    fraction = step.partition(".")[2][:MAX_SCALE_DIGITS]
    scale = int(10 ** len(fraction))
    lot = listing.quantity(listing.market.lot_size or 1)
    name = call.symbol(listing)
    return Symbol(
        name=name,
        ticker=name,
        description=_description(call, listing),
        exchange=EXCHANGE,
        listed_exchange=EXCHANGE,
        minmov=max(int(step.partition(".")[0]) * scale + int(fraction or 0), 1),
        pricescale=scale,
        volume_precision=min(len(lot.partition(".")[2]), MAX_SCALE_DIGITS),
        supported_resolutions=list(RESOLUTIONS),
        seconds_multipliers=["1"],
    )


async def search(call: Call) -> list[Found]:
    """Markets whose name holds the text, oldest first."""
    wanted = call["query"].lower().replace("/", "").replace("-", "")
    if call["type"] not in ("", "crypto") or call["exchange"] not in ("", EXCHANGE):
        return []
    rows = []
    for listing in call.directory:
        name = call.symbol(listing)
        if wanted in name.lower() or wanted == listing.address:
            told = _description(call, listing)
            rows.append(Found(name, f"{EXCHANGE}:{name}", told, EXCHANGE, name))
    return rows[: call["limit"]]


def _resolution(field: str, text: str) -> str:
    name = f"1{text}" if text in ("S", "D", "W", "M") else text
    if name not in RESOLUTIONS:
        raise errors.invalid(field, " ".join(RESOLUTIONS))
    return RESOLUTIONS[name]


def _number(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


async def history(call: Call) -> Bars:
    """Bars with `from <= t < to`, oldest first; `countback` that many before `to` instead."""
    listing, interval, until = call.listing(call["symbol"]), call["resolution"], call["to"]
    countback = min(call["countback"] or 0, MAX_BARS)
    since = None if countback else call["from"]
    candles = await read_candles(
        call.snapshot,
        listing.address,
        interval,
        since=since,
        until=until,
        limit=countback or MAX_BARS,
    )
    if not candles:
        earlier = await read_candles(
            call.snapshot, listing.address, interval, since=None, until=until, limit=1
        )
        return Bars("no_data", nextTime=earlier[0].open_time if earlier else None)
    return Bars(
        "ok",
        [one.open_time for one in candles],
        [_number(listing.price(one.open)) for one in candles],
        [_number(listing.price(one.high)) for one in candles],
        [_number(listing.price(one.low)) for one in candles],
        [_number(listing.price(one.close)) for one in candles],
        [_number(listing.quantity(one.volume)) for one in candles],
    )


async def now(call: Call) -> int:
    return call.now


async def marks(call: Call) -> list[Mark]:
    """Reorgs where they forked off, and big trades; with `address` that account's instead."""
    listing, since, until = call.listing(call["symbol"]), call["from"], call["to"]
    found = await chain_reads.rollbacks(call.snapshot, since=since, until=until, limit=MAX_MARKS)
    reorgs = [_reorg_mark(one, one.ancestor_time) for one in found if one.ancestor_time is not None]
    account = call["address"]
    if account is None:
        trades = await market_reads.big_trades(
            call.snapshot,
            listing.address,
            since=since,
            until=until,
            times=BIG_TIMES,
            limit=MAX_MARKS,
        )
    else:
        trades = await account_reads.account_trades(
            call.snapshot,
            account=account,
            market=listing.address,
            origin=None,
            order_id=None,
            since=since,
            until=until - 1,
            limit=MAX_MARKS,
        )
    return reorgs + [_trade_mark(one, listing, account or one.taker) for one in trades]


def _reorg_mark(one: chain_reads.Rollback, time: int) -> Mark:
    text = f"reorg of {one.depth} blocks above block {one.ancestor_number}"
    return Mark(f"reorg-{one.id}", time, "red", text, "R")


def _trade_mark(one: Trade, listing: Listing, account: str) -> Mark:
    """A trade as one of its two accounts saw it."""
    bought = (one.taker == account) is (one.taker_side == "buy")
    word, color, label = ("bought", "green", "B") if bought else ("sold", "orange", "S")
    text = f"{word} {listing.quantity(one.quantity)} at {listing.price(one.price)}"
    number = trade_id(one.block_number, one.log_index)
    return Mark(f"trade-{number}", one.timestamp, color, text, label)


_SYMBOL = p.symbol()
_FROM = p.integer("from", "Unix seconds, inclusive.", required=True)
_TO = p.integer("to", "Unix seconds, exclusive.", required=True)
_RESOLUTION = p.Param(
    "resolution",
    _resolution,
    {"type": "string", "enum": list(RESOLUTIONS)},
    "A bar's length.",
    True,
)

ENDPOINTS = tuple(
    Endpoint(f"/udf/{path}", answer, returns, summary, params, tag="udf")
    for path, answer, returns, summary, params in (
        ("config", configuration, Configuration, "What the feed can do", ()),
        ("symbols", symbol, Symbol, "One market", (_SYMBOL,)),
        (
            "search",
            search,
            list[Found],
            "Markets by text",
            (
                p.free("query", "Part of a name."),
                p.free("type", "`crypto` or nothing."),
                p.free("exchange", f"`{EXCHANGE}` or nothing."),
                p.limit(MAX_FOUND, MAX_FOUND),
            ),
        ),
        (
            "history",
            history,
            Bars,
            "Bars",
            (_SYMBOL, _RESOLUTION, _FROM, _TO, p.integer("countback", "Bars before `to`.")),
        ),
        ("time", now, int, "The head block's time", ()),
        (
            "marks",
            marks,
            list[Mark],
            "Reorgs, and big trades or an account's",
            (_SYMBOL, _FROM, _TO, _RESOLUTION, p.address(required=False)),
        ),
    )
)
