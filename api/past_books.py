"""SQL about past books and tickers, as `past` about the rest: whole statements, compiled once."""

from collections.abc import Collection

import msgspec
from sqlalchemy import BigInteger, bindparam, text

from api import market_reads, past
from api.market_reads import Ticker
from indexer.domain.order import CANDLE_SECONDS, Order, Side
from indexer.domain.units import Address
from indexer.store.columns import Hex
from indexer.store.queries import Query
from indexer.store.snapshot import Snapshot

_AT = bindparam("at", type_=BigInteger)

_QUEUES = Query(
    text("""
select o.*, live.status as at_status, live.filled as at_filled, live.quote_filled as at_quote_filled
  from unnest(cast(:prices as numeric[]), cast(:counts as int[])) with ordinality
       as level(price, orders, rank)
 cross join lateral (
   select o.order_id, s.status, s.filled, s.quote_filled
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
  join tidebook.orders o on o.market = :market and o.order_id = live.order_id
 order by level.rank, o.placed_block, o.placed_log_index limit :rows
""")
    .bindparams(_AT, bindparam("market", type_=Hex()))
    .columns()
)


async def queued_at(
    snapshot: Snapshot, market: Address, side: Side, at: int, limit: int
) -> list[Order]:
    """The orders that takers could reach after block `at`, best price first, then oldest first.

    A level's state says how many there were, so each price is read from its newest order of then
    back to the oldest that still waited: however many came before, or have come since. What is not
    told is an order that the contract's broken list lost and, by a later splice, has found again:
    it has no event of its own. A simulation in the past folds the logs and knows.
    """
    levels = await past.levels_at(snapshot, market, side, at, limit)
    values = {
        "market": market,
        "side": side,
        "prices": [one.price for one in levels],
        "counts": [one.order_count for one in levels],
        "at": at,
        "rows": limit,
    }
    found = []
    for row in await snapshot.read(_QUEUES, values):
        now = Order(*(row[name] for name in Order.__struct_fields__))
        found.append(
            msgspec.structs.replace(
                now,
                status=row["at_status"],
                filled=row["at_filled"],
                quote_filled=row["at_quote_filled"],
            )
        )
    return found


_TICKERS = Query(
    text(f"""
select m.address,
       last.price, last.quantity, last.timestamp, last.block_number, last.log_index,
       first.price, first.block_number, first.log_index, before.price,
       sums.high, sums.low, sums.volume, sums.quote_volume, sums.trades,
       bid.price, bid.quantity, ask.price, ask.quantity
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
  left join lateral ({past.levels_text("buy", "m.address", "1")}) bid on true
  left join lateral ({past.levels_text("sell", "m.address", "1")}) ask on true
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
    return {row[0]: market_reads.ticker_of(tuple(row)) for row in rows}
