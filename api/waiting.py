"""Who waits in a book, as takers reach them: statements (store/waiting.py says who that is)."""

from sqlalchemy import BigInteger, Text, bindparam, text

from indexer.store.columns import Hex
from indexer.store.queries import Query
from indexer.store.waiting import OF_MARKET


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
