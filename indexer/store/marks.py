"""Markets with divergences that nobody has acknowledged, and the operator's word that one has."""

from indexer.store.postgres import Connection


async def marked(connection: Connection) -> dict[str, int]:
    """Marked markets by symbol, with how many divergences are open.

    What differs at no market, a balance, is filed under the balance manager's address.
    """
    return {row["name"]: row["open"] for row in await connection.fetch(_MARKED)}


async def acknowledge(connection: Connection, market: str | None) -> int:
    """Acknowledge the open divergences of one market (None: of all); how many there were."""
    if market is None:
        done = await connection.execute(_ALL)
    else:
        done = await connection.execute(_ONE, market.lower())
    return int(done.split()[-1])


_NAMED = "coalesce(m.symbol, '0x' || encode(d.market, 'hex'))"

_MARKED = f"""
select {_NAMED} as name, count(*) as open
  from tidebook.divergences d left join tidebook.markets m on m.address = d.market
 where not d.acknowledged group by 1 order by 1
"""

_ALL = "update tidebook.divergences set acknowledged = true where not acknowledged"

_ONE = """
update tidebook.divergences d set acknowledged = true
 where not d.acknowledged
   and ('0x' || encode(d.market, 'hex') = $1
        or d.market = (select address from tidebook.markets where lower(symbol) = $1))
"""
