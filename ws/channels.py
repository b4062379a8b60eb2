"""Pure: what a stream's name means, and what a message of ours is in Binance's words."""

import re
from typing import Any, NamedTuple

import msgspec

from indexer.domain.interval import INTERVALS
from indexer.domain.listing import Directory, Listing
from indexer.domain.trade_ids import trade_id
from indexer.domain.units import Address
from indexer.wire import Message

PARTIAL = re.compile("depth(5|10|20)(@100ms|@1000ms)?")
CADENCED = re.compile("depth@(100|1000)ms")
KLINE = re.compile("kline_(.+)")
ACCOUNT = re.compile("0x[0-9a-f]{40}")
STATISTICS = ("miniTicker", "ticker", "avgPrice")
EVERYWHERE = Address("!")
"""Stands for all markets: `!ticker@arr`."""


class Channel(NamedTuple):
    """What a stream's name stands for; two names of one market are one channel.

    `market` is the account's address where `kind` is `user`.
    """

    market: Address
    kind: str


def stream_channel(directory: Directory, stream: str) -> Channel | None:
    """The channel of a stream's name (`wethusdc@trade`), None if it names nothing we have.

    ScaleX's clients say it the other way round: `trade@WETHUSDC`. An address is its user stream.
    """
    if ACCOUNT.fullmatch(stream.lower()):
        return Channel(Address(stream.lower()), "user")
    if stream in ("!miniTicker@arr", "!ticker@arr"):
        return Channel(EVERYWHERE, stream[1:].removesuffix("@arr"))
    symbol, _, kind = stream.partition("@")
    if symbol in ("trade", "depth", "ticker"):
        symbol, kind = kind, symbol
    listing = directory.find(symbol)
    if listing is None or not _is_kind(kind):
        return None
    return Channel(listing.address, _canonical(kind))


def _is_kind(kind: str) -> bool:
    if kind in ("trade", "depth", "aggTrade", "bookTicker", *STATISTICS):
        return True
    if kline := KLINE.fullmatch(kind):
        return kline[1] in INTERVALS and kline[1] != "1s"  # minutes are what is kept
    return bool(PARTIAL.fullmatch(kind) or CADENCED.fullmatch(kind))


def _canonical(kind: str) -> str:
    """One name for each cadence: partial books come every second unless told."""
    return kind if "@" in kind or not PARTIAL.fullmatch(kind) else f"{kind}@1000ms"


def channel_of(message: Message) -> Channel | None:
    """The channel a message belongs to, None where no strict client may see it.

    A trade that is taken back has no word in Binance's dialect. A book's `snapshot` comes after a
    backfill that published nothing: leaving it out makes the next diff's `U` jump, which is how
    every Binance client learns that it must read the book anew.
    """
    if message.market is None:
        return None
    match message.stream, message.op:
        case "trades", "apply":
            return Channel(message.market, "trade")
        case "depth", "apply" | "retract":
            return Channel(message.market, "depth")
        case _:
            return None


def payload(kind: str, message: Message, listing: Listing) -> bytes:
    """A message as JSON in Binance's shape."""
    match kind:
        case "trade":
            return msgspec.json.encode(_trade(message, listing))
        case _:
            return msgspec.json.encode(_depth(message, listing))


def _trade(message: Message, listing: Listing) -> dict[str, Any]:
    data = message.data
    time_ms = message.block.timestamp * 1000
    return {
        "e": "trade" if message.op == "apply" else "tradeRetracted",
        "E": time_ms,
        "s": listing.plain,
        "t": trade_id(data["block_number"], data["log_index"]),
        "p": listing.price(int(data["price"])),
        "q": listing.quantity(int(data["quantity"])),
        "T": data["timestamp"] * 1000,
        "m": data["taker_side"] == "sell",  # whether the buyer was the maker
        "M": True,
    }


def _depth(message: Message, listing: Listing) -> dict[str, Any]:
    def levels(side: str) -> list[tuple[str, str]]:
        return [
            (listing.price(int(price)), listing.quantity(int(quantity)))
            for price, quantity, _ in message.data[side]
        ]

    return {
        "e": "depthUpdate",
        "E": message.block.timestamp * 1000,
        "s": listing.plain,
        "U": message.prev_seq + 1,
        "u": message.seq,
        "pu": message.prev_seq,
        "b": levels("bids"),
        "a": levels("asks"),
    }
