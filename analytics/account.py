"""One account as a request needs it: its journal, its balances, and rates for its tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import msgspec

from analytics import reads
from analytics.endpoint import Ask
from analytics.journal import BalanceRow, Entry, journal
from analytics.lots import Method
from analytics.marks import MarkKind, Marks, Series
from analytics.micro import walk
from analytics.portfolio import Result, fold
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

    @property
    def since(self) -> int:
        """The block of its first entry."""
        return self.entries[0].origin.block_number if self.entries else 0


async def load_account(ask: Ask) -> Account:
    """Raises BadInput when it has more history than one answer may be folded from."""
    address: Address = ask["address"]
    trades = await reads.account_trades(ask.snapshot, address, ask.at.number)
    rows = await reads.account_balances(ask.snapshot, address, ask.at.number)
    markets = {one.market.address: one.market for one in ask.listings}
    balances = {row.token: row for row in rows}
    known = {token.address: token for one in ask.listings for token in (one.base, one.quote)}
    missing = balances.keys() - known.keys()
    if missing:
        known |= await reads.tokens(ask.snapshot, missing)
    for address_ in missing - known.keys():  # a token that no market needed us to know
        known[address_] = Token(address_, address_, address_, 0)
    return Account(address, journal(address, trades, rows, markets), balances, known)


def quote_token(ask: Ask) -> Token:
    return reads.find_token(ask.listings, "quote", ask["quote"])


async def load_marks(ask: Ask, quote: Token, kind: MarkKind = "mid") -> Marks:
    """Every market's marks up to the block asked for. `executable` values the past at mid."""
    series = {}
    for one in ask.listings:
        address = one.market.address
        if kind == "last":
            found = await reads.last_prices(ask.snapshot, address, ask.at.number)
            marks = [(number, Fraction(price)) for number, price in found]
        else:
            rows = await reads.tops(ask.snapshot, one, ask.at.number)
            marks = [(row.block_number, mid) for row in rows if (mid := row.top.mid) is not None]
        if marks:
            series[address] = Series(address, marks)
    markets = [one.market for one in ask.listings]
    units = {one.base.address: one.base.unit for one in ask.listings}
    return Marks(quote.address, markets, units, series)


async def value(
    ask: Ask, account: Account, marks: Marks, method: Method = "fifo", kind: MarkKind = "mid"
) -> dict[Address, Result]:
    """The account's positions by token."""
    results = fold(account.entries, marks, method, ask.at.number)
    if kind != "executable":
        return results
    return {token: await _executable(ask, marks, one) for token, one in results.items()}


async def _executable(ask: Ask, marks: Marks, result: Result) -> Result:
    """The same position at what its market's bids would pay for all of it, fees aside."""
    if result.token == marks.quote or not result.quantity:
        return result
    for one in ask.listings:
        if one.base.address == result.token and one.quote.address == marks.quote:
            book = await reads.levels_at(ask.snapshot, one.market.address, ask.at.number)
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
