"""Tokens and the markets that trade them."""

import msgspec

from indexer.domain.units import Address, Amount, Hash, Price, Quantity

Symbol = str


class Token(msgspec.Struct, frozen=True):
    """A token's own words about itself, read at the block where we first needed them."""

    address: Address
    symbol: str
    name: str
    decimals: int

    @property
    def unit(self) -> int:
        """Smallest units in one whole token."""
        return int(10**self.decimals)


class Market(msgspec.Struct):
    """One order book contract. Its address is its identity: pool ids and symbols can repeat."""

    address: Address
    symbol: Symbol
    pool_id: Hash
    base: Address
    quote: Address
    created_block: int
    created_log_index: int
    tick_size: Price | None = None
    lot_size: Quantity | None = None
    min_quantity: Quantity | None = None
    min_quote_amount: Amount | None = None
    maker_fee_per_mille: int | None = None
    """Learnt from transfers, as no event tells it; None until one was large enough to be clear."""
    taker_fee_per_mille: int | None = None
