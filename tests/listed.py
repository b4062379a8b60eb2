"""Markets for tests, named in a word."""

from indexer.domain.listing import Listing
from indexer.domain.market import Market, Token
from indexer.domain.units import Address, Hash


def listing(
    market: Address, symbol: str, base_decimals: int = 18, quote_decimals: int = 6
) -> Listing:
    """A market of a symbol such as `WETH-USDC`, its tokens named after it."""
    base, quote = symbol.split("-")[:2]
    first, second = Address("0x" + "ba" * 20), Address("0x" + "c0" * 20)
    return Listing(
        Market(market, symbol, Hash("0x" + "00" * 32), first, second, 1, 0),
        Token(first, base, base, base_decimals),
        Token(second, quote, quote, quote_decimals),
    )
