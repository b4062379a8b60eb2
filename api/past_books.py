"""SQL about past books and tickers, as `past` about the rest: whole statements, compiled once."""

from collections.abc import Collection
from typing import Any

import msgspec
from sqlalchemy import BigInteger, bindparam, text

from api import market_reads
from api.errors import QueueLost
from api.market_reads import Ticker
from indexer.domain.change import StandingLevel
from indexer.domain.order import CANDLE_SECONDS, Order, Side
from indexer.domain.units import Address, Price
from indexer.store.books import PastBook, books_at
from indexer.store.columns import Hex
from indexer.store.queries import Query
from indexer.store.snapshot import Snapshot

_ids = msgspec.json.Decoder(list[int]).decode

_AT = bindparam("at", type_=BigInteger)

_QUEUES = Query(
    text("""
select live.*
  from unnest(cast(:prices as numeric[]), cast(:counts as int[])) with ordinality
       as level(price, orders, rank)
 cross join lateral (
   select o.*, s.status as at_status, s.filled as at_filled, s.quote_filled as at_quote_filled
     from tidebook.orders o cross join lateral (
       select status, filled, quote_filled from tidebook.order_changes c
        where c.market = o.market and c.order_id = o.order_id and c.block_number <= :at
        order by c.block_number desc, c.ordinal desc limit 1) s
    where o.market = :market and o.side = :side and o.price = level.price
      and o.placed_block <= :at
      and (o.updated_block > :at or o.status in ('open', 'partially_filled', 'orphaned'))
      and s.status in ('open', 'partially_filled')
    order by o.placed_block desc, o.placed_log_index desc limit level.orders
 ) live
 order by level.rank, live.placed_block, live.placed_log_index
""")
    .bindparams(_AT, bindparam("market", type_=Hex()))
    .columns()
)


_BROKEN = Query(
    text("""
select q.price, q.order_ids
  from unnest(cast(:prices as numeric[]), cast(:blocks as bigint[])) level(price, number)
  join tidebook.queues q on q.market = :market and q.side = :side
   and q.price = level.price and q.block_number = level.number
""")
    .bindparams(bindparam("market", type_=Hex()))
    .columns()
)

_WAITING = Query(
    text("""
select o.*, s.status as at_status, s.filled as at_filled, s.quote_filled as at_quote_filled
  from unnest(cast(:ids as bigint[])) with ordinality as waiting(order_id, rank)
  join tidebook.orders o on o.market = :market and o.order_id = waiting.order_id
 cross join lateral (
   select status, filled, quote_filled from tidebook.order_changes c
    where c.market = o.market and c.order_id = o.order_id and c.block_number <= :at
    order by c.block_number desc, c.ordinal desc limit 1) s
 order by waiting.rank
""")
    .bindparams(_AT, bindparam("market", type_=Hex()))
    .columns()
)


async def queued_at(
    snapshot: Snapshot, market: Address, book: PastBook, side: Side, at: int, limit: int
) -> list[Order]:
    """The orders that takers could reach after block `at`, best price first, then oldest first.

    `book` is the market's then. It says how many orders each level had, so a sound one is read
    from its newest order of then back to the oldest that still waited: however many came before,
    or have come since. Whom a broken list had lost or found is kept. Raises BeyondRetention where
    it is not: too many waited, or the database was written before queues were.
    """
    levels = _holding(book.depth(side), limit)
    of = {"market": market, "side": side, "at": at}
    prices = [one.price for one in levels]
    touched = {"prices": prices, "blocks": [one.updated_block for one in levels]}
    broken = {row[0]: _ids(row[1]) for row in await snapshot.read(_BROKEN, of | touched)}
    sound = [one for one in levels if one.price not in broken]
    prices = [one.price for one in sound]
    counted = {"prices": prices, "counts": [one.order_count for one in sound]}
    rows = await snapshot.read(_QUEUES, of | counted)
    if broken:
        ids = [order_id for queue in broken.values() for order_id in queue]
        rows += await snapshot.read(_WAITING, of | {"ids": ids})
    queues: dict[Price, list[Order]] = {one.price: [] for one in levels}
    for row in rows:
        order = _as_it_was(row)
        queues[order.price].append(order)
    for level in levels:
        _require_whole(level, queues[level.price])
    return [order for queue in queues.values() for order in queue][:limit]


def _holding(levels: list[StandingLevel], limit: int) -> list[StandingLevel]:
    """The first levels, as many as hold so many orders."""
    orders = 0
    for chosen, level in enumerate(levels):
        if orders >= limit:
            return levels[:chosen]
        orders += level.order_count
    return levels


def _as_it_was(row: Any) -> Order:
    now = Order(*(row[name] for name in Order.__struct_fields__))
    return msgspec.structs.replace(
        now, status=row["at_status"], filled=row["at_filled"], quote_filled=row["at_quote_filled"]
    )


def _require_whole(level: StandingLevel, queue: list[Order]) -> None:
    remaining = sum(order.remaining for order in queue)
    if (len(queue), remaining) != (level.order_count, level.quantity):
        raise QueueLost(f"who waited at price {level.price} is not kept of this block")


_TICKERS = Query(
    text("""
select m.address,
       last.price, last.quantity, last.timestamp, last.block_number, last.log_index,
       first.price, first.block_number, first.log_index, before.price,
       sums.high, sums.low, sums.volume, sums.quote_volume, sums.trades
  from tidebook.markets m
  left join lateral (
    select price, quantity, timestamp, block_number, log_index from tidebook.trades
     where market = m.address and block_number <= :at
     order by block_number desc, log_index desc limit 1) last on true
  left join lateral (
    select price, block_number, log_index from tidebook.trades
     where market = m.address and timestamp >= :since and block_number <= :at
     order by timestamp, block_number, log_index limit 1) first on true
  left join lateral (
    select price from tidebook.trades
     where market = m.address and timestamp < :since
     order by timestamp desc, block_number desc, log_index desc limit 1) before on true
  left join lateral (
    select max(high) as high, min(low) as low, sum(volume) as volume,
           sum(quote_volume) as quote_volume, sum(trades) as trades
      from (select high, low, volume, quote_volume, trades from tidebook.candles
             where market = m.address and open_time >= :since and open_time < :minute
            union all
            select max(price), min(price), sum(quantity), sum(quote_amount), count(*)
              from tidebook.trades
             where market = m.address and timestamp >= :minute and block_number <= :at
            having count(*) > 0) minutes) sums on true
 where m.address = any(cast(:markets as bytea[]))
""")
    .bindparams(
        _AT,
        bindparam("since", type_=BigInteger),
        bindparam("minute", type_=BigInteger),
    )
    .columns()
)


async def tickers_at(
    snapshot: Snapshot, *, since: int, at: int, now: int, markets: Collection[Address]
) -> dict[Address, Ticker]:
    """Tickers from `since` to block `at`, whose time is `now`: `market_reads.tickers` of then.

    Whole minutes are stored; the one that `now` is in is summed from its trades so far.
    """
    values = {
        "since": since,
        "at": at,
        "minute": now - now % CANDLE_SECONDS,
        "markets": list(markets),
    }
    rows = await snapshot.read(_TICKERS, values)
    books = await books_at(snapshot, markets, at)
    found = {}
    for row in rows:
        bid, ask = books[row[0]].best("buy"), books[row[0]].best("sell")
        found[row[0]] = market_reads.ticker_of((*row, *_top(bid), *_top(ask)))
    return found


def _top(level: StandingLevel | None) -> tuple[int | None, int | None]:
    return (None, None) if level is None else (level.price, level.quantity)
