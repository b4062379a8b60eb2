"""Tables that analytics keeps for itself, in the one schema that migrations must reach.

Nobody else reads or writes them, and nothing in them is a fact: they can be emptied at any time and
are folded anew from facts.
"""

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from indexer.store.columns import Hex, Units
from indexer.store.tables import metadata

analytics_cursor = Table(
    "analytics_cursor",
    metadata,
    Column("one", Boolean, primary_key=True, nullable=False),
    Column("epoch", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("block_number", BigInteger),
    Column("block_hash", Hex),
    CheckConstraint("one", name="one"),
    comment="Up to which message of the depth stream analytics_tops has been folded.",
)

analytics_tops = Table(
    "analytics_tops",
    metadata,
    Column("market", Hex, primary_key=True, nullable=False),
    Column("block_number", BigInteger, primary_key=True, nullable=False),
    Column("timestamp", BigInteger, nullable=False),
    Column("bid", Units),
    Column("bid_quantity", Units, nullable=False),
    Column("ask", Units),
    Column("ask_quantity", Units, nullable=False),
    Column("bid_depth", JSONB, nullable=False),
    Column("ask_depth", JSONB, nullable=False),
    Column("order_flow", Units, nullable=False),
    comment="A market's top and depth at the end of each block that changed its book.",
)
