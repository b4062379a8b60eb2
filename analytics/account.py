"""One account as a request needs it: its journal, its balances, and rates for its tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from analytics import account_reads, market_reads, reads
from analytics.endpoint import Ask
from analytics.journal import BalanceRow, Entry
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


async def load_marks(ask: Ask, quote: Token, kind: MarkKind = "mid") -> Marks:
    """Every market's marks up to the block asked for. `executable` values the past at mid."""
    markets = [one.market for one in ask.listings]
    addresses = [market.address for market in markets]
    found = await ask.memory.prices(ask.view, addresses, kind)
    series = {market: one for market, one in found.items() if one.is_priced}
    units = {one.base.address: one.base.unit for one in ask.listings}
    return Marks(quote.address, markets, units, series)


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
