"""One account as a request needs it: its journal, its balances, and rates for its tokens."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import msgspec

from analytics import account_reads, market_reads, reads
from analytics.endpoint import Ask
from analytics.journal import BalanceRow, Entry, Exchange, Flow
from analytics.lots import Method
from analytics.marks import MarkKind, Marks
from analytics.micro import walk
from analytics.portfolio import Result
from analytics.remembered import AccountHistory
from indexer.domain.market import Token
from indexer.domain.units import Address


@dataclass(frozen=True)
class Account:
    """Everything stored of an account up to the block asked for."""

    address: Address
    entries: Sequence[Entry]
    balances: dict[Address, BalanceRow]
    """The newest by token."""
    tokens: dict[Address, Token]
    history: AccountHistory

    @property
    def since(self) -> int:
        """The block of its first entry."""
        return self.entries[0].origin.block_number if self.entries else 0


async def load_account(ask: Ask) -> Account:
    """Raises BadInput when it has more history than one answer may be folded from."""
    address: Address = ask["address"]
    markets = {one.market.address: one.market for one in ask.listings}
    history, entries, balances = await ask.memory.account(ask.view, address, markets)
    known = {token.address: token for one in ask.listings for token in (one.base, one.quote)}
    missing = balances.keys() - known.keys()
    if missing:
        known |= await account_reads.tokens(ask.snapshot, missing)
    for address_ in missing - known.keys():  # a token that no market needed us to know
        known[address_] = Token(address_, address_, address_, 0)
    return Account(address, entries, balances, known, history)


def quote_token(ask: Ask) -> Token:
    return reads.find_token(ask.listings, "quote", ask["quote"])


Moment = tuple[Address, int]
"""A token, and a block at whose end its rate is asked for."""


async def load_marks(
    ask: Ask, quote: Token, moments: Iterable[Moment], kind: MarkKind = "mid"
) -> Marks:
    """Rates at the moments named and at the block asked for. `executable` has the past at mid."""
    markets = [one.market for one in ask.listings]
    units = {one.base.address: one.base.unit for one in ask.listings}
    wanted: dict[Address, set[int]] = {market.address: set() for market in markets}

    async def marks() -> Marks:
        found = await ask.memory.prices(ask.view, wanted, kind)
        series = {market: one for market, one in found.items() if one.is_priced}
        return Marks(quote.address, markets, units, series)

    known = await marks()  # which says what paths there are
    for token, blocks in by_token(moments).items():
        for market in known.path(token):
            wanted[market] |= blocks
    return await marks() if any(wanted.values()) else known


def by_token(moments: Iterable[Moment]) -> dict[Address, set[int]]:
    found: dict[Address, set[int]] = {}
    for token, number in moments:
        found.setdefault(token, set()).add(number)
    return found


def moments(entries: Iterable[Entry]) -> Iterator[Moment]:
    """When an account's entries need a rate: of what flowed, and of what a trade was paid in."""
    for entry in entries:
        match entry:
            case Flow():
                yield entry.token, entry.origin.block_number
            case Exchange():
                yield entry.quote_token, entry.origin.block_number


def at_ends(entries: Iterable[Entry], blocks: Iterable[int]) -> Iterator[Moment]:
    """When a curve needs a rate: of all that was ever held, at each of its blocks."""
    return product(held_tokens(entries), list(blocks))


def held_tokens(entries: Iterable[Entry]) -> set[Address]:
    tokens: set[Address] = set()
    for entry in entries:
        match entry:
            case Flow():
                tokens.add(entry.token)
            case Exchange():
                tokens |= {entry.paid_token, entry.got_token}
    return tokens


def positions(
    ask: Ask, account: Account, marks: Marks, method: Method, kind: MarkKind = "mid"
) -> dict[Address, Result]:
    """The account's positions by token, at mid or last price."""
    kind = "last" if kind == "last" else "mid"
    return account.history.results(account.entries, ask.at, marks, method, kind)


async def value(
    ask: Ask, account: Account, marks: Marks, method: Method = "fifo", kind: MarkKind = "mid"
) -> dict[Address, Result]:
    """The account's positions by token."""
    results = positions(ask, account, marks, method, kind)
    if kind != "executable":
        return results
    return {token: await _executable(ask, marks, one) for token, one in results.items()}


async def _executable(ask: Ask, marks: Marks, result: Result) -> Result:
    """The same position at what its market's bids would pay for all of it, fees aside."""
    if result.token == marks.quote or not result.quantity:
        return result
    for one in ask.listings:
        if one.base.address == result.token and one.quote.address == marks.quote:
            book = await market_reads.levels_at(ask.snapshot, one.market.address, ask.at.number)
            met = walk(book["buy"], result.quantity, one.base.unit)
            if met.filled == result.quantity:
                return revalued(result, met.quote_amount, None)
            short = result.quantity - met.filled
            return revalued(result, None, f"the bids are {short} units short of the quantity")
    return revalued(result, None, "no market sells this token for the quote token directly")


def revalued(result: Result, value: int | None, reason: str | None) -> Result:
    """The position at another value; what is realised stays."""
    gain = None if value is None or result.cost is None else value - result.cost
    changes: dict[str, Any] = {"value": value, "unrealised": gain, "rate": None}
    return msgspec.structs.replace(result, **changes, reason=result.reason or reason)
