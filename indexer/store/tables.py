"""The schema: SQLAlchemy Core tables, the one truth that migrations must reach.

Three kinds of table:

- *current state* (tokens, markets, orders, levels, balances, candles): one row per record, written
  over; `undo` holds what a rollback writes back;
- *facts* (blocks, logs, trades, *_changes): appended with their origin, deleted when retracted;
- *the writer's own* (cursors, outbox, links, checkpoints, divergences, rollbacks).

The kinds of column are in store/columns.py.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Identity,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP

from indexer.store.columns import (
    FREE_TEXT,
    JSON_TEXT,
    LONG,
    WORDS,
    Hex,
    Units,
    key,
    told_by,
    units,
    updated,
)

SCHEMA = "tidebook"

AnyIndex = Index | PrimaryKeyConstraint
"""What Postgres keeps an index for, and can do without for a while."""

metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "pk": "%(table_name)s_pk",
        "ix": "%(table_name)s_%(column_0_N_name)s",
        "ck": "%(table_name)s_%(constraint_name)s",
    },
)


# -- facts -------------------------------------------------------------------------------------

blocks = Table(
    "blocks",
    metadata,
    key("hash", Hex),
    Column("number", BigInteger, nullable=False),
    Column("parent_hash", Hex, nullable=False),
    Column("timestamp", BigInteger, nullable=False),
    Column("finality", Text, nullable=False, info=WORDS),
    Column("canonical", Boolean, nullable=False),
    CheckConstraint("finality in ('latest', 'safe', 'finalized')", name="finality"),
    Index("blocks_canonical_number", "number", unique=True, postgresql_where=text("canonical")),
    comment="Headers we have folded. A retracted one stays, not canonical.",
)

logs = Table(
    "logs",
    metadata,
    key("block_number", BigInteger),
    Column("unknown", Integer, nullable=False),
    Column("log_index", ARRAY(Integer), nullable=False),
    Column("of_tx", ARRAY(Integer), nullable=False),
    Column("of_kind", ARRAY(Integer), nullable=False),
    Column("ends", ARRAY(Integer), nullable=False),
    Column("txs", ARRAY(Hex), nullable=False),
    Column("address", ARRAY(Hex), nullable=False),
    Column("topic0", ARRAY(Hex), nullable=False),
    Column("others", ARRAY(Integer), nullable=False),
    Column("name", ARRAY(Text), nullable=False),
    Column("words", Hex, nullable=False),
    Index("logs_unknown", "unknown", postgresql_where=text("unknown > 0")),
    comment="Every log of the followed contracts, raw, a row a block: read the view `events`.",
)
"""Of each log its index, the places (from 0) of its tx and its kind, and where in `words` all its
topics but the first, and its data, end. Of each kind its contract, topic0, how many other topics
follow and its name: null where no ABI knows its topic; `unknown` counts the logs of such.

The view `events` has a row for each log: block_number, log_index, tx, address, name, topics, data.
"""

trades = Table(
    "trades",
    metadata,
    key("block_number", BigInteger),
    key("log_index", Integer),
    Column("market", Hex, nullable=False),
    Column("tx", Hex, nullable=False),
    Column("timestamp", BigInteger, nullable=False),
    units("price"),
    units("quantity"),
    units("quote_amount"),
    Column("taker_side", Text, nullable=False, info=WORDS),
    Column("maker_order_id", BigInteger, nullable=False),
    Column("taker_order_id", BigInteger, nullable=False),
    Column("maker", Hex, nullable=False),
    Column("taker", Hex, nullable=False),
    Column("maker_fee", Units),
    Column("taker_fee", Units),
    Column("verified", Boolean),
    Column("undecided", Text, info=WORDS),
    Index(None, "market", "block_number", "log_index"),
    Index(None, "maker", "block_number", "log_index"),
    Index(None, "taker", "block_number", "log_index"),
    Index(None, "market", "timestamp"),
    comment="One maker met one taker. Named by origin.",
)

order_changes = Table(
    "order_changes",
    metadata,
    key("block_number", BigInteger),
    key("ordinal", Integer),
    Column("log_index", Integer, nullable=False),
    Column("market", Hex, nullable=False),
    Column("order_id", BigInteger, nullable=False),
    Column("account", Hex, nullable=False),
    Column("tx", Hex, nullable=False),
    Column("kind", Text, nullable=False, info=WORDS),
    Column("status", Text, nullable=False, info=WORDS),
    units("filled"),
    units("quote_filled"),
    Column("trade_price", Units),
    Column("trade_quantity", Units),
    Column("trade_quote_amount", Units),
    Column("trade_fee", Units),
    Column("is_maker", Boolean),
    Index(None, "market", "order_id", "block_number", "ordinal"),
    Index(None, "account", "block_number", "ordinal"),
    comment="Every event in an order's life; the newest up to a block is its state there.",
)

level_changes = Table(
    "level_changes",
    metadata,
    key("block_number", BigInteger, told_by("updated_block")),
    key("market", Hex),
    key("side", Text, WORDS),
    key("price", Units),
    Column("log_index", Integer, nullable=False, info=told_by("updated_log_index")),
    units("quantity"),
    Column("order_count", Integer, nullable=False),
    Index(None, "market", "block_number"),
    comment="A level after each block that touched it; quantity 0 when it went.",
)

books = Table(
    "books",
    metadata,
    key("market", Hex),
    key("block_number", BigInteger),
    Column("bids", Text, nullable=False),
    Column("asks", Text, nullable=False),
    Index(None, "block_number"),
    comment="A whole book after some blocks: JSON of (price, quantity, orders, block), best first.",
)

queues = Table(
    "queues",
    metadata,
    key("block_number", BigInteger),
    key("market", Hex),
    key("side", Text),
    key("price", Units),
    Column("order_ids", Text, nullable=False),
    comment="Who waited, after a block that touched it, at a level whose list is broken: JSON.",
)

balance_changes = Table(
    "balance_changes",
    metadata,
    key("block_number", BigInteger, told_by("updated_block")),
    key("account", Hex),
    key("token", Hex),
    Column("log_index", Integer, nullable=False, info=told_by("updated_log_index")),
    units("available"),
    units("locked"),
    units("deposited"),
    units("withdrawn"),
    Index(None, "account", "token", "block_number"),
    comment="A balance after each block that touched it.",
)

# -- current state -------------------------------------------------------------------------------

tokens = Table(
    "tokens",
    metadata,
    key("address", Hex),
    Column("symbol", Text, nullable=False, info=FREE_TEXT),
    Column("name", Text, nullable=False, info=FREE_TEXT),
    Column("decimals", SmallInteger, nullable=False),
)

markets = Table(
    "markets",
    metadata,
    key("address", Hex),
    Column("symbol", Text, nullable=False, unique=True, info=FREE_TEXT),
    Column("pool_id", Hex, nullable=False),
    Column("base", Hex, nullable=False),
    Column("quote", Hex, nullable=False),
    Column("created_block", BigInteger, nullable=False),
    Column("created_log_index", Integer, nullable=False),
    Column("tick_size", Units),
    Column("lot_size", Units),
    Column("min_quantity", Units),
    Column("min_quote_amount", Units),
    Column("maker_fee_per_mille", Integer),
    Column("taker_fee_per_mille", Integer),
)

orders = Table(
    "orders",
    metadata,
    key("market", Hex),
    key("order_id", BigInteger),
    Column("account", Hex, nullable=False),
    Column("side", Text, nullable=False, info=WORDS),
    Column("type", Text, nullable=False, info=WORDS),
    Column("time_in_force", Text, nullable=False, info=WORDS),
    units("price"),
    units("quantity"),
    Column("quantity_in_quote", Boolean, nullable=False),
    Column("expiry", BigInteger, nullable=False),
    Column("placed_block", BigInteger, nullable=False),
    Column("placed_log_index", Integer, nullable=False),
    Column("placed_at", BigInteger, nullable=False),
    Column("tx", Hex, nullable=False),
    units("filled"),
    units("quote_filled"),
    Column("status", Text, nullable=False, info=WORDS),
    *updated(),
    Column("queued", Boolean, nullable=False),
    Column("next", BigInteger, nullable=False),
    Column("prev", BigInteger, nullable=False),
    Index(None, "account", "placed_block", "placed_log_index"),
    Index(None, "market", "placed_block", "placed_log_index"),
    Index(None, "placed_block", "placed_log_index"),
    Index(None, "market", "side", "price", "placed_block", "placed_log_index"),
)

levels = Table(
    "levels",
    metadata,
    key("market", Hex),
    key("side", Text, WORDS),
    key("price", Units),
    Column("head", BigInteger, nullable=False),
    Column("tail", BigInteger, nullable=False),
    Column("count", Integer, nullable=False),
    units("volume"),
    units("quantity"),
    Column("order_count", Integer, nullable=False),
    Column("broken", Boolean, nullable=False),
    Column("in_tree", Boolean, nullable=False),
    *updated(),
)

balances = Table(
    "balances",
    metadata,
    key("account", Hex),
    key("token", Hex),
    units("available"),
    units("locked"),
    units("deposited"),
    units("withdrawn"),
    *updated(),
)

candles = Table(
    "candles",
    metadata,
    key("market", Hex),
    key("open_time", BigInteger),
    units("open"),
    units("high"),
    units("low"),
    units("close"),
    units("volume"),
    units("quote_volume"),
    units("taker_buy_volume"),
    units("taker_buy_quote_volume"),
    Column("trades", Integer, nullable=False),
    comment="One-minute candles, of minutes with trades; the other intervals are sums of these.",
)

undo = Table(
    "undo",
    metadata,
    key("block_number", BigInteger),
    Column("images", Hex, nullable=False),
    comment="What each block above finalized did to each record, to take it back.",
)

# -- the writer's own ------------------------------------------------------------------------------

cursors = Table(
    "cursors",
    metadata,
    key("one", Boolean),
    Column("chain_id", BigInteger, nullable=False),
    Column("deployment", JSONB, nullable=False),
    Column("epoch", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("linked_seq", BigInteger, nullable=False, server_default="0"),
    Column("block_number", BigInteger),
    Column("block_hash", Hex),
    Column("finalized_number", BigInteger),
    Column("safe_number", BigInteger),
    Column("head_number", BigInteger),
    Column("live", Boolean, nullable=False),
    Column("events", BigInteger, nullable=False, server_default="0"),
    Column("events_per_s", Double, nullable=False, server_default="0"),
    Column("blocks_per_s", Double, nullable=False, server_default="0"),
    Column("updated_at", TIMESTAMP(timezone=True), nullable=False, server_default=text("now()")),
    CheckConstraint("one", name="one"),
    comment="Where the writer stands. One row: a database belongs to one chain.",
)

outbox = Table(
    "outbox",
    metadata,
    key("seq", BigInteger),
    Column("stream", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("block_number", BigInteger, nullable=False),
    Column("message", Text, nullable=False, info=JSON_TEXT),
    Column("prev_seq", BigInteger, nullable=False),
    Index("outbox_system", "block_number", "seq", postgresql_where=text("channel = 'system'")),
    comment="Messages by seq, kept for clients that resume; each links to its channel's last.",
)

links = Table(
    "links",
    metadata,
    key("channel", Text),
    Column("seq", BigInteger, nullable=False),
    comment="Each channel's newest seq as of cursors.linked_seq: read the view `channels`.",
)

channels = Table(
    "channels",
    MetaData(schema=SCHEMA),  # a view
    key("channel", Text),
    Column("seq", BigInteger, nullable=False),
)
"""Each channel's newest seq: those of `links`, and what the outbox has that is newer."""

rollbacks = Table(
    "rollbacks",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("ancestor_number", BigInteger, nullable=False),
    Column("ancestor_hash", Hex, nullable=False),
    Column("head_number", BigInteger, nullable=False),
    Column("head_hash", Hex, nullable=False),
    Column("depth", Integer, nullable=False),
    Column("recorded_at", TIMESTAMP(timezone=True), nullable=False, server_default=text("now()")),
    comment="Reorg history: how far each rollback went, and the head it took back.",
)

providers = Table(
    "providers",
    metadata,
    key("url_masked", Text),
    Column("state", Text, nullable=False),
    Column("score", Integer, nullable=False),
    Column("head_number", BigInteger),
    Column("faults", JSONB, nullable=False),
    Column("last_fault", Text, info=FREE_TEXT),
    Column("updated_at", TIMESTAMP(timezone=True), nullable=False, server_default=text("now()")),
    comment="The nodes the writer asks, as of its last report; without secrets.",
)

checkpoints = Table(
    "checkpoints",
    metadata,
    key("block_number", BigInteger),
    Column("block_hash", Hex, nullable=False),
    Column("version", Integer, nullable=False),
    Column("checksum", BigInteger, nullable=False),
    Column("state", Hex, nullable=False, info=LONG),
)

recalled = Table(
    "recalled",
    metadata,
    key("market", Hex),
    key("order_id", BigInteger),
    key("block_number", BigInteger),
    Column("image", JSONB, nullable=False),
    comment="Orders that came back into the writer's memory, as they were before that block.",
)

divergences = Table(
    "divergences",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("market", Hex, nullable=False),
    Column("block_number", BigInteger, nullable=False),
    Column("log_index", Integer, nullable=False),
    Column("tx", Hex, nullable=False),
    Column("order_id", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("expected", JSONB),
    Column("found", JSONB),
    Column("acknowledged", Boolean, nullable=False, server_default=text("false")),
    Index(None, "market", "block_number"),
    comment="Where the rules and the chain disagree (the chain wins).",
)
