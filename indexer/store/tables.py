"""The schema, the one truth that migrations must reach.

Three kinds of table:

- *current state* (tokens, markets, orders, levels, balances, candles): one row per record, written
  over; `undo` holds what a rollback writes back;
- *facts* (blocks, logs, trades, *_changes): appended with their origin, deleted when retracted;
- *the writer's own* (cursors, outbox, links, checkpoints, divergences, rollbacks).

What a column may be is in store/shape.py.
"""

from indexer.store.shape import Check, Column, index, table

_UPDATED = (
    Column("updated_block", "bigint"),
    Column("updated_log_index", "integer"),
)
"""Where a record was last touched."""


# -- facts -------------------------------------------------------------------------------------

blocks = table(
    "blocks",
    Column("hash", "bytea", is_key=True),
    Column("number", "bigint"),
    Column("parent_hash", "bytea"),
    Column("timestamp", "bigint"),
    Column("finality", "text", content="words"),
    Column("canonical", "boolean"),
    Check("finality", "finality in ('latest', 'safe', 'finalized')"),
    index("number", name="blocks_canonical_number", unique=True, where="canonical"),
    comment="Headers we have folded. A retracted one stays, not canonical.",
)

logs = table(
    "logs",
    Column("block_number", "bigint", is_key=True),
    Column("unknown", "integer"),
    Column("log_index", "integer[]"),
    Column("of_tx", "integer[]"),
    Column("of_kind", "integer[]"),
    Column("ends", "integer[]"),
    Column("txs", "bytea[]"),
    Column("address", "bytea[]"),
    Column("topic0", "bytea[]"),
    Column("others", "integer[]"),
    Column("name", "text[]"),
    Column("words", "bytea"),
    index("unknown", name="logs_unknown", where="unknown > 0"),
    comment="Every log of the followed contracts, raw, a row a block: read the view `events`.",
)
"""Of each log its index, the places (from 0) of its tx and its kind, and where in `words` all its
topics but the first, and its data, end. Of each kind its contract, topic0, how many other topics
follow and its name: null where no ABI knows its topic; `unknown` counts the logs of such.

The view `events` has a row for each log: block_number, log_index, tx, address, name, topics, data.
"""

trades = table(
    "trades",
    Column("block_number", "bigint", is_key=True),
    Column("log_index", "integer", is_key=True),
    Column("market", "bytea"),
    Column("tx", "bytea"),
    Column("timestamp", "bigint"),
    Column("price", "numeric"),
    Column("quantity", "numeric"),
    Column("quote_amount", "numeric"),
    Column("taker_side", "text", content="words"),
    Column("maker_order_id", "bigint"),
    Column("taker_order_id", "bigint"),
    Column("maker", "bytea"),
    Column("taker", "bytea"),
    Column("maker_fee", "numeric", nullable=True),
    Column("taker_fee", "numeric", nullable=True),
    Column("verified", "boolean", nullable=True),
    Column("undecided", "text", nullable=True, content="words"),
    index("market", "block_number", "log_index"),
    index("maker", "block_number", "log_index"),
    index("taker", "block_number", "log_index"),
    index("market", "timestamp"),
    comment="One maker met one taker. Named by origin.",
)

order_changes = table(
    "order_changes",
    Column("block_number", "bigint", is_key=True),
    Column("ordinal", "integer", is_key=True),
    Column("log_index", "integer"),
    Column("market", "bytea"),
    Column("order_id", "bigint"),
    Column("account", "bytea"),
    Column("tx", "bytea"),
    Column("kind", "text", content="words"),
    Column("status", "text", content="words"),
    Column("filled", "numeric"),
    Column("quote_filled", "numeric"),
    Column("trade_price", "numeric", nullable=True),
    Column("trade_quantity", "numeric", nullable=True),
    Column("trade_quote_amount", "numeric", nullable=True),
    Column("trade_fee", "numeric", nullable=True),
    Column("is_maker", "boolean", nullable=True),
    index("market", "order_id", "block_number", "ordinal"),
    index("account", "block_number", "ordinal"),
    comment="Every event in an order's life; the newest up to a block is its state there.",
)

level_changes = table(
    "level_changes",
    Column("block_number", "bigint", is_key=True, told_by="updated_block"),
    Column("market", "bytea", is_key=True),
    Column("side", "text", is_key=True, content="words"),
    Column("price", "numeric", is_key=True),
    Column("log_index", "integer", told_by="updated_log_index"),
    Column("quantity", "numeric"),
    Column("order_count", "integer"),
    index("market", "block_number"),
    comment="A level after each block that touched it; quantity 0 when it went.",
)

books = table(
    "books",
    Column("market", "bytea", is_key=True),
    Column("block_number", "bigint", is_key=True),
    Column("bids", "text"),
    Column("asks", "text"),
    index("block_number"),
    comment="A whole book after some blocks: JSON of (price, quantity, orders, block), best first.",
)

queues = table(
    "queues",
    Column("block_number", "bigint", is_key=True),
    Column("market", "bytea", is_key=True),
    Column("side", "text", is_key=True),
    Column("price", "numeric", is_key=True),
    Column("order_ids", "text"),
    comment="Who waited, after a block that touched it, at a level whose list is broken: JSON.",
)

balance_changes = table(
    "balance_changes",
    Column("block_number", "bigint", is_key=True, told_by="updated_block"),
    Column("account", "bytea", is_key=True),
    Column("token", "bytea", is_key=True),
    Column("log_index", "integer", told_by="updated_log_index"),
    Column("available", "numeric"),
    Column("locked", "numeric"),
    Column("deposited", "numeric"),
    Column("withdrawn", "numeric"),
    index("account", "token", "block_number"),
    comment="A balance after each block that touched it.",
)

# -- current state -------------------------------------------------------------------------------

tokens = table(
    "tokens",
    Column("address", "bytea", is_key=True),
    Column("symbol", "text", content="free text"),
    Column("name", "text", content="free text"),
    Column("decimals", "smallint"),
)

markets = table(
    "markets",
    Column("address", "bytea", is_key=True),
    Column("symbol", "text", content="free text", unique=True),
    Column("pool_id", "bytea"),
    Column("base", "bytea"),
    Column("quote", "bytea"),
    Column("created_block", "bigint"),
    Column("created_log_index", "integer"),
    Column("tick_size", "numeric", nullable=True),
    Column("lot_size", "numeric", nullable=True),
    Column("min_quantity", "numeric", nullable=True),
    Column("min_quote_amount", "numeric", nullable=True),
    Column("maker_fee_per_mille", "integer", nullable=True),
    Column("taker_fee_per_mille", "integer", nullable=True),
)

orders = table(
    "orders",
    Column("market", "bytea", is_key=True),
    Column("order_id", "bigint", is_key=True),
    Column("account", "bytea"),
    Column("side", "text", content="words"),
    Column("type", "text", content="words"),
    Column("time_in_force", "text", content="words"),
    Column("price", "numeric"),
    Column("quantity", "numeric"),
    Column("quantity_in_quote", "boolean"),
    Column("expiry", "bigint"),
    Column("placed_block", "bigint"),
    Column("placed_log_index", "integer"),
    Column("placed_at", "bigint"),
    Column("tx", "bytea"),
    Column("filled", "numeric"),
    Column("quote_filled", "numeric"),
    Column("status", "text", content="words"),
    *_UPDATED,
    Column("queued", "boolean"),
    Column("next", "bigint"),
    Column("prev", "bigint"),
    index("account", "placed_block", "placed_log_index"),
    index("market", "placed_block", "placed_log_index"),
    index("placed_block", "placed_log_index"),
    index("market", "side", "price", "placed_block", "placed_log_index"),
)

levels = table(
    "levels",
    Column("market", "bytea", is_key=True),
    Column("side", "text", is_key=True, content="words"),
    Column("price", "numeric", is_key=True),
    Column("head", "bigint"),
    Column("tail", "bigint"),
    Column("count", "integer"),
    Column("volume", "numeric"),
    Column("quantity", "numeric"),
    Column("order_count", "integer"),
    Column("broken", "boolean"),
    Column("in_tree", "boolean"),
    *_UPDATED,
)

balances = table(
    "balances",
    Column("account", "bytea", is_key=True),
    Column("token", "bytea", is_key=True),
    Column("available", "numeric"),
    Column("locked", "numeric"),
    Column("deposited", "numeric"),
    Column("withdrawn", "numeric"),
    *_UPDATED,
)

candles = table(
    "candles",
    Column("market", "bytea", is_key=True),
    Column("open_time", "bigint", is_key=True),
    Column("open", "numeric"),
    Column("high", "numeric"),
    Column("low", "numeric"),
    Column("close", "numeric"),
    Column("volume", "numeric"),
    Column("quote_volume", "numeric"),
    Column("taker_buy_volume", "numeric"),
    Column("taker_buy_quote_volume", "numeric"),
    Column("trades", "integer"),
    comment="One-minute candles, of minutes with trades; the other intervals are sums of these.",
)

undo = table(
    "undo",
    Column("block_number", "bigint", is_key=True),
    Column("images", "bytea"),
    comment="What each block above finalized did to each record, to take it back.",
)

# -- the writer's own ------------------------------------------------------------------------------

cursors = table(
    "cursors",
    Column("one", "boolean", is_key=True),
    Column("chain_id", "bigint"),
    Column("deployment", "jsonb"),
    Column("epoch", "text"),
    Column("seq", "bigint"),
    Column("linked_seq", "bigint", default="0"),
    Column("block_number", "bigint", nullable=True),
    Column("block_hash", "bytea", nullable=True),
    Column("finalized_number", "bigint", nullable=True),
    Column("safe_number", "bigint", nullable=True),
    Column("head_number", "bigint", nullable=True),
    Column("live", "boolean"),
    Column("events", "bigint", default="0"),
    Column("events_per_s", "double precision", default="0"),
    Column("blocks_per_s", "double precision", default="0"),
    Column("updated_at", "timestamptz", default="now()"),
    Check("one", "one"),
    comment="Where the writer stands. One row: a database belongs to one chain.",
)

outbox = table(
    "outbox",
    Column("seq", "bigint", is_key=True),
    Column("first_seq", "bigint"),
    Column("block_number", "bigint"),
    Column("op", "text", content="words"),
    Column("channels", "text[]"),
    Column("newest", "bigint[]"),
    Column("messages", "bytea"),
    index("block_number", "seq"),
    comment="Messages, bundled (indexer/bundle.py) by block: kept for clients that resume.",
)

links = table(
    "links",
    Column("channel", "text", is_key=True),
    Column("seq", "bigint"),
    comment="Each channel's newest seq as of cursors.linked_seq: read the view `channels`.",
)

rollbacks = table(
    "rollbacks",
    Column("id", "bigint", is_key=True, numbered=True),
    Column("ancestor_number", "bigint"),
    Column("ancestor_hash", "bytea"),
    Column("head_number", "bigint"),
    Column("head_hash", "bytea"),
    Column("depth", "integer"),
    Column("recorded_at", "timestamptz", default="now()"),
    comment="Reorg history: how far each rollback went, and the head it took back.",
)

providers = table(
    "providers",
    Column("url_masked", "text", is_key=True),
    Column("state", "text"),
    Column("score", "integer"),
    Column("head_number", "bigint", nullable=True),
    Column("faults", "jsonb"),
    Column("last_fault", "text", nullable=True, content="free text"),
    Column("updated_at", "timestamptz", default="now()"),
    comment="The nodes the writer asks, as of its last report; without secrets.",
)

checkpoints = table(
    "checkpoints",
    Column("block_number", "bigint", is_key=True),
    Column("block_hash", "bytea"),
    Column("version", "integer"),
    Column("checksum", "bigint"),
    Column("state", "bytea", content="long"),
)

recalled = table(
    "recalled",
    Column("market", "bytea", is_key=True),
    Column("order_id", "bigint", is_key=True),
    Column("block_number", "bigint", is_key=True),
    Column("image", "jsonb"),
    comment="Orders that came back into the writer's memory, as they were before that block.",
)

divergences = table(
    "divergences",
    Column("id", "bigint", is_key=True, numbered=True),
    Column("market", "bytea"),
    Column("block_number", "bigint"),
    Column("log_index", "integer"),
    Column("tx", "bytea"),
    Column("order_id", "bigint"),
    Column("kind", "text"),
    Column("expected", "jsonb", nullable=True),
    Column("found", "jsonb", nullable=True),
    Column("acknowledged", "boolean", default="false"),
    index("market", "block_number"),
    comment="Where the rules and the chain disagree (the chain wins).",
)

ALL = (
    *(blocks, logs, trades, order_changes, level_changes, books, queues, balance_changes),
    *(tokens, markets, orders, levels, balances, candles, undo),
    *(cursors, outbox, links, rollbacks, providers, checkpoints, recalled, divergences),
)
