"""Pure: what a stream's name means, and what a message of ours is in Binance's words."""

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, assert_never

import msgspec

from indexer.domain.units import Address, to_decimal
from indexer.wire import Message

Kind = Literal["trade", "depth"]


class Listing(msgspec.Struct, frozen=True):
    """A market as the gateway knows it: its name, and how its integers read as decimals."""

    market: Address
    symbol: str
    base_decimals: int
    quote_decimals: int

    @property
    def plain(self) -> str:
        """The symbol as Binance writes it: `WETHUSDC`."""
        return self.symbol.replace("-", "").upper()


class Channel(NamedTuple):
    """What a stream's name stands for; two names of one market are one channel."""

    market: Address
    kind: Kind


class Directory:
    """The markets there are. Sessions hold on to it, so it is filled anew, never replaced."""

    def __init__(self, listings: Iterable[Listing] = ()) -> None:
        self._by_address: dict[Address, Listing] = {}
        self._by_name: dict[str, Listing] = {}
        self.fill(listings)

    def fill(self, listings: Iterable[Listing]) -> None:
        """Take these as all markets, oldest first: where two could share a name, the older wins.

        An address names its market too, and never shares.
        """
        self._by_address = {listing.market: listing for listing in listings}
        self._by_name = {str(market): one for market, one in self._by_address.items()}
        for listing in self._by_address.values():
            self._by_name.setdefault(listing.symbol.lower(), listing)
        for listing in self._by_address.values():
            self._by_name.setdefault(listing.plain.lower(), listing)

    def __len__(self) -> int:
        return len(self._by_address)

    def at(self, market: Address) -> Listing | None:
        return self._by_address.get(market)

    def channel(self, stream: str) -> Channel | None:
        """The channel of a stream's name (`wethusdc@trade`), None if it names nothing we have.

        Only what is served as its name says: Binance's `@100ms` is a cadence we do not keep yet.
        """
        symbol, _, kind = stream.partition("@")
        listing = self._by_name.get(symbol.lower())
        if listing is None:
            return None
        match kind:
            case "trade" | "depth":
                return Channel(listing.market, kind)
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


LOG_INDEX_BITS = 20


def trade_id(block_number: int, log_index: int) -> int:
    """A trade's number: `block_number * 2**20 + log_index`.

    It orders a market's trades as the chain does and stays the same over restarts and rebuilds.
    Exact in a float up to block 2**33; no block has 2**20 logs (its gas would not do).
    """
    assert 0 <= log_index < 1 << LOG_INDEX_BITS, f"log index {log_index} is beyond a trade's number"
    return block_number << LOG_INDEX_BITS | log_index


def _trade(message: Message, listing: Listing) -> dict[str, Any]:
    data = message.data
    time_ms = message.block.timestamp * 1000
    return {
        "e": "trade",
        "E": time_ms,
        "s": listing.plain,
        "t": trade_id(data["block_number"], data["log_index"]),
        "p": to_decimal(int(data["price"]), listing.quote_decimals),
        "q": to_decimal(int(data["quantity"]), listing.base_decimals),
        "T": data["timestamp"] * 1000,
        "m": data["taker_side"] == "sell",  # whether the buyer was the maker
        "M": True,
    }


def _depth(message: Message, listing: Listing) -> dict[str, Any]:
    def levels(side: str) -> list[tuple[str, str]]:
        return [
            (
                to_decimal(int(price), listing.quote_decimals),
                to_decimal(int(quantity), listing.base_decimals),
            )
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
