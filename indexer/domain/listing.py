"""Markets as people and their programs name them."""

from collections.abc import Iterable, Iterator

import msgspec

from indexer.domain.market import Market, Token
from indexer.domain.units import Address, to_decimal


class Listing(msgspec.Struct, frozen=True):
    """A market with the two tokens it trades, and so how its integers read as decimals."""

    market: Market
    base: Token
    quote: Token

    @property
    def address(self) -> Address:
        return self.market.address

    @property
    def symbol(self) -> str:
        """The display name: `WETH-USDC`."""
        return self.market.symbol

    @property
    def plain(self) -> str:
        """The symbol as Binance writes it: `WETHUSDC`."""
        return plain(self.market.symbol)

    def price(self, units: int) -> str:
        """A price: quote tokens for one base token."""
        return to_decimal(units, self.quote.decimals)

    def quantity(self, units: int) -> str:
        """A quantity in base tokens."""
        return to_decimal(units, self.base.decimals)

    def quote_amount(self, units: int) -> str:
        """An amount in quote tokens."""
        return to_decimal(units, self.quote.decimals)


def plain(symbol: str) -> str:
    """A symbol without what only people need: `weth-usdc` is `WETHUSDC`."""
    return symbol.replace("-", "").upper()


class Directory:
    """The markets there are, found by any of their names.

    A market answers to its address, its symbol and its plain symbol, in any case. Where two markets
    could share a name the older has it; the younger answers to its other names, and always to its
    address. Readers hold on to a directory, so it is filled anew, never replaced.
    """

    def __init__(self, listings: Iterable[Listing] = ()) -> None:
        self._by_address: dict[Address, Listing] = {}
        self._by_name: dict[str, Listing] = {}
        self.fill(listings)

    def fill(self, listings: Iterable[Listing]) -> None:
        """Take these as all markets, oldest first."""
        self._by_address = {listing.address: listing for listing in listings}
        self._by_name = {str(market): one for market, one in self._by_address.items()}
        for listing in self._by_address.values():
            self._by_name.setdefault(listing.symbol.lower(), listing)
        for listing in self._by_address.values():
            self._by_name.setdefault(listing.plain.lower(), listing)

    def __len__(self) -> int:
        return len(self._by_address)

    def __iter__(self) -> Iterator[Listing]:
        """All markets, oldest first."""
        return iter(self._by_address.values())

    def at(self, market: Address) -> Listing | None:
        return self._by_address.get(market)

    def find(self, name: str) -> Listing | None:
        """The market of a name, None if there is none."""
        return self._by_name.get(name.lower())

    def plain_name(self, listing: Listing) -> str:
        """A market's distinct name as Binance writes it: no other market answers to it.

        The plain symbol, unless an older market has that name; then the symbol, then the address.
        """
        for name in (listing.plain, listing.symbol):
            if self._by_name.get(name.lower()) is listing:
                return name
        return listing.address
