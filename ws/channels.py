"""Pure: what a stream's name means."""

import re
from typing import NamedTuple

from indexer.domain.interval import INTERVALS
from indexer.domain.listing import Directory
from indexer.domain.units import Address

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

    ScaleX's clients say it the other way round: `trade@WETHUSDC`; their `depth` comes with every
    block, Binance's once a second. An address is its user stream.
    """
    if ACCOUNT.fullmatch(stream.lower()):
        return Channel(Address(stream.lower()), "user")
    if stream in ("!miniTicker@arr", "!ticker@arr"):
        return Channel(EVERYWHERE, stream[1:].removesuffix("@arr"))
    symbol, _, kind = stream.partition("@")
    if symbol in ("trade", "depth", "ticker"):
        listing = directory.find(kind)
        return Channel(listing.address, symbol) if listing else None
    listing = directory.find(symbol)
    if listing is None or not _is_kind(kind):
        return None
    return Channel(listing.address, _canonical(kind))


def _is_kind(kind: str) -> bool:
    if kind in ("trade", "depth", "aggTrade", "bookTicker", *STATISTICS):
        return True
    if kline := KLINE.fullmatch(kind):
        return kline[1] in INTERVALS
    return bool(PARTIAL.fullmatch(kind) or CADENCED.fullmatch(kind))


def _canonical(kind: str) -> str:
    """One name for each cadence: books come every second unless told."""
    return f"{kind}@1000ms" if kind in ("depth", "depth5", "depth10", "depth20") else kind
