"""What a market's price was at the blocks asked for, however much history lies between them.

A block's price is found by its index, one look for each, in analytics_tops as far as that is known
to be whole. Behind that point the book is folded from level changes, page by page, and only what
was asked for is remembered. Each market whose first price is wanted gets that row too.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import groupby
from typing import Any

from sqlalchemy import ARRAY, BigInteger, any_, bindparam, column, func, select, true

from analytics import limits
from analytics.books import BookState
from analytics.market_reads import kept_markets, levels_at
from analytics.marks import Priced
from analytics.micro import Top
from indexer.domain.units import Address
from indexer.store import relations as t
from indexer.store.columns import Hex
from indexer.store.queries import Query
from indexer.store.snapshot import Snapshot

Wanted = Mapping[Address, Collection[int]]
"""By market, the blocks at which its price is asked for."""
Found = dict[Address, list[Priced]]
"""By market, in no order: the newest row up to each of them."""


async def mids(
    snapshot: Snapshot, wanted: Wanted, unpriced: Collection[Address], upto: int
) -> Found:
    """Books' tops at blocks up to one, and the first with a mid of each market in `unpriced`."""
    kept = await _kept_to(snapshot, wanted.keys(), upto)
    firsts = await _firsts(snapshot, _FIRST_MID, {market: kept[market] for market in unpriced})
    lagging = {market for market in wanted if kept[market] < upto}
    looks: dict[Address, set[int]] = {}
    for market, blocks in wanted.items():
        looks[market] = {number for number in blocks if number <= kept[market]}
        if market in firsts:
            looks[market].add(firsts[market])
        if market in lagging and kept[market] >= 0:
            looks[market].add(kept[market])
    found: Found = {market: [] for market in wanted}
    held = await _looks(snapshot, _MID_AT, looks)
    for market, _, at, bid, bid_quantity, ask, ask_quantity, priced_at, low, high in held:
        top = Top(bid, bid_quantity, ask, ask_quantity)
        mid = top.mid if priced_at is None else Fraction(low + high, 2)
        found[market].append(Priced(at, mid, at if priced_at is None else priced_at, top))
    if lagging:
        walks = {}
        for market in lagging:
            one = _Walk(market, kept[market], sorted(set(wanted[market])))
            one.wants_first = market in unpriced and market not in firsts
            one.newest = max(found[market], default=None, key=lambda row: row.block_number)
            walks[market] = one
        await _fold(snapshot, walks, upto)
        for market, one in walks.items():
            found[market] += one.found
    return found


async def last_prices(
    snapshot: Snapshot, wanted: Wanted, unpriced: Collection[Address], upto: int
) -> Found:
    """Likewise, of trades."""
    firsts = await _firsts(snapshot, _FIRST_TRADE, dict.fromkeys(unpriced, upto))
    looks = {
        market: {*blocks, firsts[market]} if market in firsts else set(blocks)
        for market, blocks in wanted.items()
    }
    found: Found = {market: [] for market in wanted}
    for market, _, number, price in await _looks(snapshot, _TRADE_AT, looks):
        found[market].append(Priced(number, Fraction(price), number))
    return found


# -- by index --------------------------------------------------------------------------------------


async def _kept_to(
    snapshot: Snapshot, markets: Collection[Address], upto: int
) -> dict[Address, int]:
    """The block up to which each market's rows in analytics_tops are those of this chain.

    A market that lacks a message has all rows of the blocks before the one its keeper stands in.
    """
    whole = await kept_markets(snapshot, markets)
    rows = await snapshot.read(_STANDING) if len(whole) < len(markets) else ()
    sound = min(rows[0].block_number - 1, upto) if rows else -1
    return {market: upto if market in whole else sound for market in markets}


async def _firsts(snapshot: Snapshot, query: Query, markets: dict[Address, int]) -> dict[Any, int]:
    """The first block with a price, up to the one named with each, of markets that had one."""
    if not markets:
        return {}
    pairs = {"markets": list(markets), "numbers": list(markets.values())}
    return {row[0]: row[1] for row in await snapshot.read(query, pairs)}


async def _looks(snapshot: Snapshot, query: Query, looks: Mapping[Address, Collection[int]]) -> Any:
    """The query's rows, asked for in pages."""
    pairs = [(market, number) for market, blocks in looks.items() for number in blocks]
    found: list[Any] = []
    for start in range(0, len(pairs), limits.PAGE_ROWS):
        markets, numbers = zip(*pairs[start : start + limits.PAGE_ROWS], strict=True)
        values = {"markets": list(markets), "numbers": list(numbers)}
        found += map(tuple, await snapshot.read(query, values))
    return found


_k, _tr, _a, _c, _b = t.analytics_tops.c, t.trades.c, t.analytics_cursor.c, t.cursors.c, t.blocks.c
_pairs = (
    func.unnest(
        bindparam("markets", type_=ARRAY(Hex)), bindparam("numbers", type_=ARRAY(BigInteger))
    )
    .table_valued(column("market", Hex), column("number", BigInteger), name="asked")
    .render_derived()
)
_p = _pairs.c
_both_sides = _k.bid.is_not(None) & _k.ask.is_not(None)
_top = (
    select(_k.block_number, _k.bid, _k.bid_quantity, _k.ask, _k.ask_quantity)
    .where(_k.market == _p.market, _k.block_number <= _p.number)
    .order_by(_k.block_number.desc())
    .limit(1)
    .lateral("top")
)
_earlier = (
    select(_k.block_number, _k.bid, _k.ask)
    .where(_k.market == _p.market, _k.block_number < _top.c.block_number, _both_sides)
    .order_by(_k.block_number.desc())
    .limit(1)
    .lateral("earlier")
)
_one_sided = _top.c.bid.is_(None) | _top.c.ask.is_(None)
_MID_AT = Query(
    select(*_p, *_top.c, *_earlier.c).select_from(
        _pairs.join(_top, true()).outerjoin(_earlier, _one_sided)
    )
)
_first_top = (
    select(_k.block_number)
    .where(_k.market == _p.market, _k.block_number <= _p.number, _both_sides)
    .order_by(_k.block_number)
    .limit(1)
    .lateral("first_top")
)
_FIRST_MID = Query(
    select(_p.market, _first_top.c.block_number).select_from(_pairs.join(_first_top, true()))
)
_trade = (
    select(_tr.block_number, _tr.price)
    .where(_tr.market == _p.market, _tr.block_number <= _p.number)
    .order_by(_tr.block_number.desc(), _tr.log_index.desc())
    .limit(1)
    .lateral("trade")
)
_TRADE_AT = Query(select(*_p, *_trade.c).select_from(_pairs.join(_trade, true())))
_first_trade = (
    select(_tr.block_number)
    .where(_tr.market == _p.market, _tr.block_number <= _p.number)
    .order_by(_tr.block_number)
    .limit(1)
    .lateral("first_trade")
)
_FIRST_TRADE = Query(
    select(_p.market, _first_trade.c.block_number).select_from(_pairs.join(_first_trade, true()))
)
_STANDING = Query(
    select(_a.block_number)
    .select_from(
        t.analytics_cursor.join(t.cursors, _a.epoch == _c.epoch).join(
            t.blocks, (_b.hash == _a.block_hash) & _b.canonical
        )
    )
    .where(_a.block_number.is_not(None))
)


# -- by folding ------------------------------------------------------------------------------------


class _Walk:
    """One market's book on its way through the blocks, and what is wanted of it there."""

    def __init__(self, market: Address, behind: int, wanted: Sequence[int]) -> None:
        self.behind = behind
        """Its changes up to here are in the book already."""
        self.book = BookState(market, 1)
        self.newest: Priced | None = None
        self.wants_first = False
        self.found: list[Priced] = []
        self._wanted = [number for number in wanted if number > behind]
        self._done = 0

    def tell_before(self, number: int) -> None:
        """The newest row is that of every block wanted before this one."""
        done = self._done
        while done < len(self._wanted) and self._wanted[done] < number:
            done += 1
        if done > self._done and self.newest is not None:
            self.found.append(self.newest)
        self._done = done

    def block(self, number: int, changes: Sequence[Any]) -> None:
        """Apply what a block did to the book."""
        self.tell_before(number)
        news = [self.book.set(row.side, row.price, row.quantity) for row in changes]
        if not any(news):
            return
        top = self.book.top()
        mid, before = top.mid, self.newest
        if mid is not None or before is None:
            self.newest = Priced(number, mid, number, top)
        else:
            self.newest = Priced(number, before.price, before.priced_at, top)
        if self.wants_first and mid is not None:
            self.found.append(self.newest)
            self.wants_first = False


async def _fold(snapshot: Snapshot, walks: Mapping[Address, _Walk], upto: int) -> None:
    """Walk all of them on to a block, a page of level changes at a time."""
    for market, one in walks.items():
        if one.behind >= 0:
            for side, levels in (await levels_at(snapshot, market, one.behind)).items():
                for price, quantity in levels:
                    one.book.set(side, price, quantity)
    behind = min(one.behind for one in walks.values())
    while True:
        values = {"markets": list(walks), "behind": behind, "upto": upto, "rows": limits.PAGE_ROWS}
        rows = await snapshot.read(_CHANGES, values)
        for number, market, changes in _by_block(rows):
            if number > walks[market].behind:
                walks[market].block(number, changes)
        if len(rows) < limits.PAGE_ROWS:
            break
        behind = rows[-1].block_number
    for one in walks.values():
        one.tell_before(upto + 1)


def _by_block(rows: Sequence[Any]) -> Iterator[tuple[int, Address, list[Any]]]:
    for number, of_block in groupby(rows, lambda row: row.block_number):
        markets: dict[Address, list[Any]] = {}
        for row in of_block:
            markets.setdefault(row.market, []).append(row)
        for market, changes in markets.items():
            yield number, market, changes


_lc = t.level_changes.c
_CHANGES = Query(
    select(_lc.block_number, _lc.market, _lc.side, _lc.price, _lc.quantity)
    .where(_lc.market == any_(bindparam("markets", type_=ARRAY(Hex))))
    .where(_lc.block_number > bindparam("behind"), _lc.block_number <= bindparam("upto"))
    .order_by(_lc.block_number)
    .fetch(bindparam("rows", type_=BigInteger), with_ties=True)
)
