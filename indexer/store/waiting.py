"""Who waits in a book's queues: of each level the newest orders there, as many as it counts.

No index knows who waits: an order leaves its queue once, and with such an index it would then be
told to all others anew. So a book costs its size, and what was placed at its prices since.
"""

from sqlalchemy import BigInteger, Text, bindparam, text

from indexer.store.columns import Hex
from indexer.store.queries import Query

OF_MARKET = """
  from tidebook.levels l cross join lateral (
    select * from tidebook.orders
     where market = l.market and side = l.side and price = l.price and queued
     order by placed_block desc, placed_log_index desc limit l.order_count) o
 where l.order_count > 0 and l.market = """
"""To be followed by the market: waiting orders are `o`."""


def _side(direction: str) -> Query:
    return Query(
        text(
            f"select o.* {OF_MARKET} :market and l.side = :side"
            f" order by l.price {direction}, o.placed_block, o.placed_log_index limit :most"
        )
        .bindparams(
            bindparam("market", type_=Hex()),
            bindparam("side", type_=Text),
            bindparam("most", type_=BigInteger),
        )
        .columns()
    )


SIDES = {"buy": _side("desc"), "sell": _side("asc")}
"""The orders that takers can reach on one side, best price first, then oldest first."""
BOOK = Query(
    text(f"select o.* {OF_MARKET} :market limit :most")
    .bindparams(bindparam("market", type_=Hex()), bindparam("most", type_=BigInteger))
    .columns()
)
"""Those of both sides."""
