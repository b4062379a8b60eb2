"""Books as they stood after a block: the whole book kept last before it, and what changed since.

So a past book costs its size then and the orders of a while, however long the chain is.
"""

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple, Protocol

import msgspec
from sqlalchemy import BigInteger, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from indexer.domain.change import StandingLevel
from indexer.domain.order import Side
from indexer.domain.units import Address, Price
from indexer.store.columns import Hex, Units
from indexer.store.queries import Query
from indexer.store.snapshot import Snapshot

BOOKS = (
    text("""
with kept as materialized (
  select m.market, b.block_number, b.bids, b.asks
    from unnest(cast(:markets as bytea[])) m (market) left join lateral (
      select * from tidebook.books b where b.market = m.market and b.block_number <= :at
       order by b.block_number desc limit 1) b on true
)
select market, block_number, null as side, null as price, null as quantity, null as order_count,
       bids, asks
  from kept where block_number is not null
union all
select kept.market, c.block_number, c.side, c.price, c.quantity, c.order_count, null, null
  from kept cross join lateral (
    select distinct on (side, price) side, price, quantity, order_count, block_number
      from tidebook.level_changes c
     where c.market = kept.market and c.block_number > coalesce(kept.block_number, -1)
       and c.block_number <= :at
     order by side, price, block_number desc) c
""")
    .bindparams(bindparam("markets", type_=ARRAY(Hex)), bindparam("at", type_=BigInteger))
    .columns(market=Hex, price=Units, quantity=Units)
)
"""The books of `markets` after block `at`, to be folded; the kept ones come first."""

_BOOKS = Query(BOOKS)

_levels = msgspec.json.Decoder(list[StandingLevel]).decode


class _Best(Protocol):
    def __call__(self, prices: Collection[Price], /) -> Price: ...


class PastBook(NamedTuple):
    """Both sides of a book, levels by price, in no order."""

    bids: dict[Price, StandingLevel]
    asks: dict[Price, StandingLevel]

    def side(self, side: Side) -> dict[Price, StandingLevel]:
        return self.bids if side == "buy" else self.asks

    def depth(self, side: Side) -> list[StandingLevel]:
        """One side, best first."""
        levels = self.side(side)
        return [levels[price] for price in sorted(levels, reverse=side == "buy")]

    def best(self, side: Side) -> StandingLevel | None:
        levels = self.side(side)
        if not levels:
            return None
        best: _Best = max if side == "buy" else min
        return levels[best(levels)]


async def books_at(
    snapshot: Snapshot, markets: Collection[Address], at: int
) -> dict[Address, PastBook]:
    """The books of these markets after block `at`, in one statement."""
    values = {"markets": list(markets), "at": at}
    return folded(markets, await snapshot.read(_BOOKS, values))


def folded(markets: Iterable[Address], rows: Iterable[Any]) -> dict[Address, PastBook]:
    """The books of the rows of `BOOKS`."""
    found = {market: PastBook({}, {}) for market in markets}
    for market, number, side, price, quantity, count, bids, asks in map(tuple, rows):
        book = found[market]
        if side is None:
            book.bids.update((one.price, one) for one in _levels(bids))
            book.asks.update((one.price, one) for one in _levels(asks))
        elif quantity > 0:
            book.side(side)[price] = StandingLevel(price, quantity, count, number)
        else:
            book.side(side).pop(price, None)
    return found


async def book_at(snapshot: Snapshot, market: Address, at: int) -> PastBook:
    """One market's book after block `at`."""
    return (await books_at(snapshot, [market], at))[market]
