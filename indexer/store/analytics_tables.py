"""Tables that analytics keeps for itself, in the one schema that migrations must reach.

Nobody else reads or writes them, and nothing in them is a fact: they can be emptied at any time and
are folded anew from facts.
"""

from indexer.store.shape import Check, Column, table

analytics_cursor = table(
    "analytics_cursor",
    Column("one", "boolean", is_key=True),
    Column("epoch", "text"),
    Column("seq", "bigint"),
    Column("block_number", "bigint", nullable=True),
    Column("block_hash", "bytea", nullable=True),
    Check("one", "one"),
    comment="Up to which message of the depth stream analytics_tops has been folded.",
)

analytics_tops = table(
    "analytics_tops",
    Column("market", "bytea", is_key=True),
    Column("block_number", "bigint", is_key=True),
    Column("timestamp", "bigint"),
    Column("bid", "numeric", nullable=True),
    Column("bid_quantity", "numeric"),
    Column("ask", "numeric", nullable=True),
    Column("ask_quantity", "numeric"),
    Column("bid_depth", "jsonb"),
    Column("ask_depth", "jsonb"),
    Column("order_flow", "numeric"),
    comment="A market's top and depth at the end of each block that changed its book.",
)

ALL = (analytics_cursor, analytics_tops)
