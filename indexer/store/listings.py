"""Markets with their tokens, as every reader needs them: one statement, and its rows' meaning."""

from typing import Any

from sqlalchemy import Select, select

from indexer.domain.listing import Listing
from indexer.domain.market import Market, Token
from indexer.store import relations as t
from indexer.store.snapshot import Row

_MARKET, _TOKEN = Market.__struct_fields__, Token.__struct_fields__
_base, _quote = t.tokens.alias("base_token"), t.tokens.alias("quote_token")


def select_listings() -> Select[Any]:
    """Markets joined with both their tokens, oldest first."""
    m = t.markets
    return (
        select(
            *(m.c[name] for name in _MARKET),
            *(_base.c[name] for name in _TOKEN),
            *(_quote.c[name] for name in _TOKEN),
        )
        .select_from(
            m.join(_base, _base.c.address == m.c.base).join(_quote, _quote.c.address == m.c.quote)
        )
        .order_by(m.c.created_block, m.c.created_log_index)
    )


def listing_of(row: Row) -> Listing:
    """One row of `select_listings`, which may have more columns behind."""
    values = tuple(row)
    first, second = len(_MARKET), len(_MARKET) + len(_TOKEN)
    third = second + len(_TOKEN)
    base, quote = Token(*values[first:second]), Token(*values[second:third])
    return Listing(Market(*values[:first]), base, quote)
