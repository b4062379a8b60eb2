"""Pure: what a stream's name means, and what a message of ours is in Binance's words."""

from typing import Any, Literal, NamedTuple, assert_never

import msgspec

from indexer.domain.listing import Directory, Listing
from indexer.domain.trade_ids import trade_id
from indexer.domain.units import Address
from indexer.wire import Message

Kind = Literal["trade", "depth"]


class Channel(NamedTuple):
    """What a stream's name stands for; two names of one market are one channel."""

    market: Address
    kind: Kind


def stream_channel(directory: Directory, stream: str) -> Channel | None:
    """The channel of a stream's name (`wethusdc@trade`), None if it names nothing we have.

    Only what is served as its name says: Binance's `@100ms` is a cadence we do not keep yet.
    """
    symbol, _, kind = stream.partition("@")
    listing = directory.find(symbol)
    if listing is None:
        return None
    match kind:
        case "trade" | "depth":
            return Channel(listing.address, kind)
        case _:
            return None


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


def payload(kind: Kind, message: Message, listing: Listing) -> bytes:
    """A message as JSON in Binance's shape."""
    match kind:
        case "trade":
            return msgspec.json.encode(_trade(message, listing))
        case "depth":
            return msgspec.json.encode(_depth(message, listing))
        case _:
            assert_never(kind)


def _trade(message: Message, listing: Listing) -> dict[str, Any]:
    data = message.data
    time_ms = message.block.timestamp * 1000
    return {
        "e": "trade",
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
