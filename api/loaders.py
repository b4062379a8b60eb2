"""Batch loaders: however many rows name a market or a token, one statement fetches them all."""

from collections.abc import Iterable
from typing import NamedTuple

from strawberry.dataloader import DataLoader

from api import arguments, divergences, listed_reads, reads
from api.errors import BadInput
from api.limits import DEFAULT_ROWS
from indexer.domain.balance import Balance
from indexer.domain.listing import Listing
from indexer.domain.market import Token
from indexer.domain.units import Address
from indexer.store.snapshot import Snapshot


class Held(NamedTuple):
    """Whose balances, after which block (None: at the head)."""

    account: Address
    at: int | None


class Listings:
    """The markets of addresses, each read once. Who has many of them asks for all at once."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._known: dict[Address, Listing | None] = {}

    async def load(self, address: Address) -> Listing | None:
        return (await self.load_many([address]))[0]

    async def load_many(self, addresses: Iterable[Address]) -> list[Listing | None]:
        """One for each address, None where there is no market."""
        wanted = list(addresses)
        missing = sorted({one for one in wanted if one not in self._known})
        if missing:
            found = await reads.listings_by_address(self._snapshot, missing)
            self._known.update((one, found.get(one)) for one in missing)
        return [self._known[one] for one in wanted]


class Loaders:
    """One request's loaders. They remember, so they live no longer than their snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self.listings = Listings(snapshot)
        self.tokens: DataLoader[Address, Token | None] = DataLoader(self._load_tokens)
        self.balances: DataLoader[Held, list[Balance]] = DataLoader(self._load_balances)
        self.open_divergences: DataLoader[Address, int] = DataLoader(self._load_open_divergences)

    async def listing(self, field: str, name: str) -> Listing:
        """The market a caller names by address or symbol. BadInput if there is none."""
        found = await self.find_listing(field, name)
        if found is None:
            raise BadInput(field, "a known market's address or symbol", name)
        return found

    async def find_listing(self, field: str, name: str) -> Listing | None:
        """The same, None if there is none."""
        if arguments.is_address(name):
            return await self.listings.load(arguments.address(field, name))
        return await reads.listing_by_symbol(self._snapshot, arguments.symbol(field, name))

    async def _load_tokens(self, addresses: list[Address]) -> list[Token | None]:
        found = await reads.tokens_by_address(self._snapshot, addresses)
        return [found.get(address) for address in addresses]

    async def _load_balances(self, keys: list[Held]) -> list[list[Balance]]:
        """All of one list, and so of one block."""
        found: dict[Held, list[Balance]] = {}
        for at in {key.at for key in keys}:
            accounts = [key.account for key in keys if key.at == at]
            of = await listed_reads.balances_of(self._snapshot, accounts, limit=DEFAULT_ROWS, at=at)
            found |= {Held(account, at): balances for account, balances in of.items()}
        return [found.get(key, []) for key in keys]

    async def _load_open_divergences(self, addresses: list[Address]) -> list[int]:
        found = await divergences.count_open(self._snapshot, addresses)
        return [found.get(address, 0) for address in addresses]
