"""The histories a process keeps: accounts' journals and folds, markets' prices and trades."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from analytics import account_reads, limits, market_reads, price_reads, reads
from analytics.errors import BadInput
from analytics.journal import BalanceRow, Entry, journal
from analytics.limits import MAX_ENTRIES
from analytics.lots import Method
from analytics.marks import MarkKind, Marks, Prices, Series
from analytics.memory import History, Rows, Shelf, reach
from analytics.portfolio import Fold, Result
from analytics.reads import AsOf, Listing, View
from analytics.tape import Deal, Tape, Traded, traded
from indexer.domain.market import Market
from indexer.domain.order import Trade
from indexer.domain.units import Address


class AccountHistory(History):
    """One account's journal and balances, and what has been folded of them."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[Entry] = []
        self.balances: dict[Address, BalanceRow] = {}
        """The newest by token."""
        self._rows: list[BalanceRow] = []
        self._folds: dict[tuple[Address, Method, MarkKind], Fold] = {}

    @property
    def weight(self) -> int:
        folded = sum(fold.count for fold in self._folds.values())
        return len(self.entries) + len(self._rows) + folded

    def cut(self, number: int) -> None:
        self.entries = self.entries_to(number)
        self._rows = [row for row in self._rows if row.block_number <= number]
        self.balances = {row.token: row for row in self._rows}
        self._folds = {}

    def extend(
        self,
        account: Address,
        trades: Sequence[Trade],
        rows: Sequence[BalanceRow],
        markets: Mapping[Address, Market],
    ) -> None:
        self.entries += journal(account, trades, rows, markets, self.balances)
        self._rows += rows
        self.balances = self.balances | {row.token: row for row in rows}

    def entries_to(self, number: int) -> list[Entry]:
        """The journal up to a block, as the caller's own."""
        entries = self.entries
        end = len(entries)
        while end and entries[end - 1].origin.block_number > number:
            end -= 1
        return entries[:end]

    def balances_to(self, number: int) -> dict[Address, BalanceRow]:
        """The newest by token, up to a block."""
        if number >= self.number:
            return self.balances
        return {row.token: row for row in self._rows if row.block_number <= number}

    def results(
        self, entries: Sequence[Entry], at: AsOf, marks: Marks, method: Method, kind: MarkKind
    ) -> dict[Address, Result]:
        """Its positions after `entries`, continuing what is folded if it stands where we do."""
        key = (marks.quote, method, kind)
        fold = self._folds.get(key)
        if not self.stands or self.stands[-1] != (at.number, at.hash):
            fold = Fold(method, marks.priced)  # another block's: not to be kept
        elif fold is None or fold.priced != marks.priced:
            fold = self._folds[key] = Fold(method, marks.priced)
        fold.advance(entries, marks)
        return fold.results(marks, at.number)


class Remembered(NamedTuple):
    """An account at the block asked for."""

    history: AccountHistory
    entries: list[Entry]
    balances: dict[Address, BalanceRow]
    """The newest by token."""


class Memory:
    """All of a process's histories. Each method brings some to the block of a request."""

    def __init__(self) -> None:
        self._listings: Rows[tuple[int, Listing]] = Rows()
        self._accounts = Shelf(AccountHistory)
        self._prices: dict[MarkKind, Shelf[Prices]] = {"mid": Shelf(Prices), "last": Shelf(Prices)}
        self._tapes = Shelf(Tape)

    async def listings(self, view: View) -> list[Listing]:
        """All markets there were, oldest first."""
        known = self._listings

        async def read(_: Sequence[History]) -> None:
            found = await reads.new_listings(view.snapshot, known.number, view.at.number)
            known.rows += [(one.market.created_block, one) for one in found]

        async with known.lock:
            await reach([known], view.at, view.canonical, read)
            return [one for _, one in known.rows[: known.count(view.at.number)]]

    async def account(
        self, view: View, address: Address, markets: Mapping[Address, Market]
    ) -> "Remembered":
        """Raises BadInput if it has more history than one answer may be folded from."""
        history = self._accounts.take(address)

        async def read(_: Sequence[AccountHistory]) -> None:
            span = (view.snapshot, address, history.number, view.at.number)
            trades = await account_reads.account_trades(*span)
            rows = await account_reads.account_balances(*span)
            history.extend(address, trades, rows, markets)

        async with history.lock:
            await reach([history], view.at, view.canonical, read)
        self._accounts.make_room()
        number = view.at.number
        return Remembered(history, history.entries_to(number), history.balances_to(number))

    async def prices(
        self, view: View, wanted: Mapping[Address, Collection[int]], kind: MarkKind
    ) -> dict[Address, Series]:
        """The markets' prices at some blocks and at the one asked for, each with its first.

        `executable` values the past at mid. Only what is not known yet is read.
        """
        shelf, upto = self._prices["last" if kind == "last" else "mid"], view.at.number
        read = price_reads.last_prices if kind == "last" else price_reads.mids
        found = {market: shelf.take(market) for market in wanted}

        async with shelf.lock:
            await reach(list(found.values()), view.at, view.canonical, _nothing)
            lacking, unpriced = {}, set()
            for market, one in found.items():
                asked = {number for number in wanted[market] if number <= upto} | {upto}
                if one.weight + len(asked) > limits.MAX_REMEMBERED_ROWS:
                    one.forget()
                    one.stand(view.at)
                if asked - one.known:
                    lacking[market] = asked - one.known
                    if not one.is_priced:
                        unpriced.add(market)
            if lacking:
                rows = await read(view.snapshot, lacking, unpriced, upto)
                for market, blocks in lacking.items():
                    found[market].add(blocks, rows[market])
            shelf.make_room()
            return {
                market: Series(market, one.rows, one.count(upto)) for market, one in found.items()
            }

    async def traded(
        self, view: View, markets: Sequence[Address], since: int
    ) -> dict[Address, Traded]:
        """What the markets' trades later than `since` amount to, up to the block.

        Where they are too many to be remembered, the database counts them each time.
        """
        try:
            tapes = await self._reach_tapes(view, markets, since)
        except BadInput:
            return await market_reads.traded_sums(view.snapshot, markets, since, view.at.number)
        return {market: tape.traded(since, view.at.number) for market, tape in tapes.items()}

    async def hourly(self, view: View, market: Address, since: int) -> dict[int, Traded]:
        """The same of one market, by the second at which each hour with trades began."""
        try:
            deals = (await self.deals(view, [market], since))[market]
        except BadInput:
            return await market_reads.hourly_sums(view.snapshot, market, since, view.at.number)
        hours: dict[int, list[Deal]] = {}
        for deal in deals:
            hours.setdefault(deal.timestamp // 3600 * 3600, []).append(deal)
        return {hour: traded(its) for hour, its in hours.items()}

    async def deals(
        self, view: View, markets: Sequence[Address], since: int
    ) -> dict[Address, list[Deal]]:
        """The markets' trades later than `since`, up to the block."""
        tapes = await self._reach_tapes(view, markets, since)
        return {market: tape.period(since, view.at.number) for market, tape in tapes.items()}

    async def _reach_tapes(
        self, view: View, markets: Sequence[Address], since: int
    ) -> dict[Address, Tape]:
        """To be used before anything is awaited: the next request may take them elsewhere."""
        found = {market: self._tapes.take(market) for market in markets}

        async def read(behind: Sequence[Tape]) -> None:
            for start in {one.since for one in behind}:
                stands = _stands(found, [one for one in behind if one.since == start])
                room = limits.MAX_REMEMBERED_ROWS - sum(one.weight for one in found.values())
                span = (start, view.at.number, room)
                deals = await market_reads.new_deals(view.snapshot, stands, *span)
                for market, rows in deals.items():
                    found[market].extend(rows)

        async with self._tapes.lock:
            for one in found.values():
                one.cover(since, MAX_ENTRIES)
            try:
                await reach(list(found.values()), view.at, view.canonical, read)
            except BadInput:
                if all(one.since == since for one in found.values()):
                    raise
                for one in found.values():
                    one.begin(since)  # what is older than the period makes room
                await reach(list(found.values()), view.at, view.canonical, read)
            self._tapes.make_room()
        return found


async def _nothing(_: Sequence[History]) -> None:
    """Prices are read for the blocks asked for, once it is known which are remembered."""


def _stands(found: Mapping[Address, History], behind: Sequence[History]) -> dict[Address, int]:
    """By market, the block behind which rows are lacking."""
    wanted = set(map(id, behind))
    return {market: one.number for market, one in found.items() if id(one) in wanted}
