"""Candles rebuilt from stored trades by a few independent lines of SQL are those we answer with."""

import re
from typing import Any

import aiohttp
import asyncpg
import pytest

from api.candles import _CANDLES
from indexer.domain.interval import INTERVALS
from indexer.store import postgres
from tests.api.test_graphql import decimals, first_market
from tests.indexed import Indexed

CUT = {"1w": "date_trunc('week', at)", "1M": "date_trunc('month', at)"}
"""The calendar is Postgres'; other lengths are bins since 1970."""

REBUILT = """
with cut as (
  select {cut} as opened, trades.* from tidebook.trades, to_timestamp(timestamp) as utc,
         lateral (select utc at time zone 'UTC' as at) as naive
   where market = $1)
select extract(epoch from opened)::bigint * 1000 as opened,
       (array_agg(price order by block_number, log_index))[1] as open, max(price) as high,
       min(price) as low, (array_agg(price order by block_number desc, log_index desc))[1] as close,
       sum(quantity) as volume, sum(quote_amount) as quote, count(*) as trades,
       coalesce(sum(quantity) filter (where taker_side = 'buy'), 0) as bought,
       coalesce(sum(quote_amount) filter (where taker_side = 'buy'), 0) as bought_quote
  from cut group by opened order by opened
"""


@pytest.mark.parametrize("interval", INTERVALS)
async def test_klines_are_what_the_stored_trades_make(
    base_url: str, http: aiohttp.ClientSession, indexed: Indexed, interval: str
) -> None:
    market = first_market(indexed)
    base, quote = decimals(indexed, market)
    cut = CUT.get(interval, f"date_bin('{INTERVALS[interval]} s', at, '1970-01-01')")
    connection: Any = await asyncpg.connect(indexed.database_url)
    rows = await connection.fetch(REBUILT.format(cut=cut), bytes.fromhex(market[2:]))
    await connection.close()
    query = {"symbol": market, "interval": interval, "startTime": "0", "limit": "1000"}
    found: list[list[Any]] = []
    while True:  # page by page
        async with http.get(f"{base_url}/api/v3/klines", params=query) as response:
            page = await response.json()
        found += page
        if len(page) < 1000:
            break
        query["startTime"] = str(page[-1][0] + 1)

    def units(text: str, places: int) -> int:
        whole, _, fraction = text.partition(".")
        return int(whole + fraction.ljust(places, "0"))

    places = {1: quote, 2: quote, 3: quote, 4: quote, 5: base, 7: quote, 9: base, 10: quote}
    order = (0, 1, 2, 3, 4, 5, 7, 8, 9, 10)
    traded = [
        tuple(units(one[n], places[n]) if n in places else one[n] for n in order)
        for one in found
        if one[8]
    ]
    assert traded == [tuple(map(int, row)) for row in rows]
    assert all(one[5] == one[7] == "0" and len(set(one[1:5])) == 1 for one in found if not one[8])


@pytest.mark.parametrize("since", [None, 0])
async def test_a_page_of_seconds_does_not_read_all_trades(
    indexed: Indexed, since: int | None
) -> None:
    """A market may have tens of millions, and a statement has five seconds."""
    values = {"market": first_market(indexed), "since": since, "limit": 3, "offset_s": 0}
    query, given = _CANDLES["1s"](**values)
    connection = await postgres.connect(indexed.database_url)
    for way in ("seqscan", "bitmapscan", "hashagg", "sort"):  # a table this small is just sorted
        await connection.execute(f"set enable_{way} = off")
    told = await connection.fetch(
        f"explain (analyze, timing off) {query.text}", *query.arguments(given)
    )
    await connection.close()
    plan = "\n".join(row[0] for row in told)
    read = re.search(r"Index Scan.* on trades.*actual rows=(\d+)", plan)
    assert read is not None, plan
    assert int(read[1]) < 50 < len(indexed.trades) // 5, plan
