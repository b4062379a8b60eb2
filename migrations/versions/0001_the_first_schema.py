"""The first schema"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "balance_changes",
        sa.Column("account", sa.LargeBinary(), nullable=False),
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("log_index", sa.Integer(), nullable=False),
        sa.Column("available", sa.Numeric(), nullable=False),
        sa.Column("locked", sa.Numeric(), nullable=False),
        sa.Column("deposited", sa.Numeric(), nullable=False),
        sa.Column("withdrawn", sa.Numeric(), nullable=False),
        sa.PrimaryKeyConstraint(
            "account", "token", "block_number", name=op.f("balance_changes_pk")
        ),
        schema="tidebook",
        comment="A balance after each block that touched it.",
    )
    op.create_index(
        op.f("balance_changes_block_number"),
        "balance_changes",
        ["block_number"],
        unique=False,
        schema="tidebook",
    )
    op.create_table(
        "balances",
        sa.Column("account", sa.LargeBinary(), nullable=False),
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.Column("available", sa.Numeric(), nullable=False),
        sa.Column("locked", sa.Numeric(), nullable=False),
        sa.Column("deposited", sa.Numeric(), nullable=False),
        sa.Column("withdrawn", sa.Numeric(), nullable=False),
        sa.Column("updated_block", sa.BigInteger(), nullable=False),
        sa.Column("updated_log_index", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("account", "token", name=op.f("balances_pk")),
        schema="tidebook",
    )
    op.create_table(
        "blocks",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("parent_hash", sa.LargeBinary(), nullable=False),
        sa.Column("timestamp", sa.BigInteger(), nullable=False),
        sa.Column("finality", sa.Text(), nullable=False),
        sa.Column("canonical", sa.Boolean(), nullable=False),
        sa.CheckConstraint(
            "finality in ('latest', 'safe', 'finalized')", name=op.f("blocks_finality")
        ),
        sa.PrimaryKeyConstraint("hash", name=op.f("blocks_pk")),
        schema="tidebook",
        comment="Headers we have folded. A retracted one stays, not canonical.",
    )
    op.create_index(
        "blocks_canonical_number",
        "blocks",
        ["number"],
        unique=True,
        schema="tidebook",
        postgresql_where=sa.text("canonical"),
    )
    op.create_table(
        "candles",
        sa.Column("market", sa.LargeBinary(), nullable=False),
        sa.Column("open_time", sa.BigInteger(), nullable=False),
        sa.Column("open", sa.Numeric(), nullable=False),
        sa.Column("high", sa.Numeric(), nullable=False),
        sa.Column("low", sa.Numeric(), nullable=False),
        sa.Column("close", sa.Numeric(), nullable=False),
        sa.Column("volume", sa.Numeric(), nullable=False),
        sa.Column("quote_volume", sa.Numeric(), nullable=False),
        sa.Column("taker_buy_volume", sa.Numeric(), nullable=False),
        sa.Column("taker_buy_quote_volume", sa.Numeric(), nullable=False),
        sa.Column("trades", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("market", "open_time", name=op.f("candles_pk")),
        schema="tidebook",
        comment="One-minute candles, of minutes with trades; the other intervals are sums of these.",
    )
    op.create_table(
        "channels",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("channel", name=op.f("channels_pk")),
        schema="tidebook",
        comment="The newest seq of each channel, for prev_seq.",
    )
    op.create_table(
        "checkpoints",
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("block_hash", sa.LargeBinary(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("checksum", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("block_number", name=op.f("checkpoints_pk")),
        schema="tidebook",
    )
    op.create_table(
        "cursors",
        sa.Column("one", sa.Boolean(), nullable=False),
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("deployment", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("epoch", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=True),
        sa.Column("block_hash", sa.LargeBinary(), nullable=True),
        sa.Column("finalized_number", sa.BigInteger(), nullable=True),
        sa.Column("head_number", sa.BigInteger(), nullable=True),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.Column(
            "updated_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint("one", name=op.f("cursors_one")),
        sa.PrimaryKeyConstraint("one", name=op.f("cursors_pk")),
        schema="tidebook",
        comment="Where the writer stands. One row: a database belongs to one chain.",
    )
    op.create_table(
        "divergences",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("market", sa.LargeBinary(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("log_index", sa.Integer(), nullable=False),
        sa.Column("tx", sa.LargeBinary(), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("expected", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("found", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("acknowledged", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("divergences_pk")),
        schema="tidebook",
        comment="Where the rules and the chain disagree (the chain wins).",
    )
    op.create_index(
        op.f("divergences_market_block_number"),
        "divergences",
        ["market", "block_number"],
        unique=False,
        schema="tidebook",
    )
    op.create_table(
        "events",
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("log_index", sa.Integer(), nullable=False),
        sa.Column("tx", sa.LargeBinary(), nullable=False),
        sa.Column("address", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("topics", sa.LargeBinary(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("block_number", "log_index", name=op.f("events_pk")),
        schema="tidebook",
        comment="Every log of the followed contracts, raw; name is null where no ABI knows its topic.",
    )
    op.create_index(
        "events_unknown",
        "events",
        ["block_number"],
        unique=False,
        schema="tidebook",
        postgresql_where=sa.text("name is null"),
    )
    op.create_table(
        "level_changes",
        sa.Column("market", sa.LargeBinary(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("price", sa.Numeric(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("log_index", sa.Integer(), nullable=False),
        sa.Column("quantity", sa.Numeric(), nullable=False),
        sa.Column("order_count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint(
            "market", "side", "price", "block_number", name=op.f("level_changes_pk")
        ),
        schema="tidebook",
        comment="A level after each block that touched it; quantity 0 when it went.",
    )
    op.create_index(
        op.f("level_changes_block_number"),
        "level_changes",
        ["block_number"],
        unique=False,
        schema="tidebook",
    )
    op.create_table(
        "levels",
        sa.Column("market", sa.LargeBinary(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("price", sa.Numeric(), nullable=False),
        sa.Column("head", sa.BigInteger(), nullable=False),
        sa.Column("tail", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("volume", sa.Numeric(), nullable=False),
        sa.Column("quantity", sa.Numeric(), nullable=False),
        sa.Column("order_count", sa.Integer(), nullable=False),
        sa.Column("broken", sa.Boolean(), nullable=False),
        sa.Column("in_tree", sa.Boolean(), nullable=False),
        sa.Column("updated_block", sa.BigInteger(), nullable=False),
        sa.Column("updated_log_index", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("market", "side", "price", name=op.f("levels_pk")),
        schema="tidebook",
    )
    op.create_table(
        "markets",
        sa.Column("address", sa.LargeBinary(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("pool_id", sa.LargeBinary(), nullable=False),
        sa.Column("base", sa.LargeBinary(), nullable=False),
        sa.Column("quote", sa.LargeBinary(), nullable=False),
        sa.Column("created_block", sa.BigInteger(), nullable=False),
        sa.Column("created_log_index", sa.Integer(), nullable=False),
        sa.Column("tick_size", sa.Numeric(), nullable=True),
        sa.Column("lot_size", sa.Numeric(), nullable=True),
        sa.Column("min_quantity", sa.Numeric(), nullable=True),
        sa.Column("min_quote_amount", sa.Numeric(), nullable=True),
        sa.Column("maker_fee_per_mille", sa.Integer(), nullable=True),
        sa.Column("taker_fee_per_mille", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("address", name=op.f("markets_pk")),
        sa.UniqueConstraint("symbol"),
        schema="tidebook",
    )
    op.create_table(
        "order_changes",
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("log_index", sa.Integer(), nullable=False),
        sa.Column("market", sa.LargeBinary(), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column("account", sa.LargeBinary(), nullable=False),
        sa.Column("tx", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("filled", sa.Numeric(), nullable=False),
        sa.Column("quote_filled", sa.Numeric(), nullable=False),
        sa.Column("trade_price", sa.Numeric(), nullable=True),
        sa.Column("trade_quantity", sa.Numeric(), nullable=True),
        sa.Column("trade_quote_amount", sa.Numeric(), nullable=True),
        sa.Column("trade_fee", sa.Numeric(), nullable=True),
        sa.Column("is_maker", sa.Boolean(), nullable=True),
        sa.PrimaryKeyConstraint("block_number", "ordinal", name=op.f("order_changes_pk")),
        schema="tidebook",
        comment="Every event in an order's life; the newest up to a block is its state there.",
    )
    op.create_index(
        op.f("order_changes_account_block_number_ordinal"),
        "order_changes",
        ["account", "block_number", "ordinal"],
        unique=False,
        schema="tidebook",
    )
    op.create_index(
        op.f("order_changes_market_order_id_block_number_ordinal"),
        "order_changes",
        ["market", "order_id", "block_number", "ordinal"],
        unique=False,
        schema="tidebook",
    )
    op.create_table(
        "orders",
        sa.Column("market", sa.LargeBinary(), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column("account", sa.LargeBinary(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("time_in_force", sa.Text(), nullable=False),
        sa.Column("price", sa.Numeric(), nullable=False),
        sa.Column("quantity", sa.Numeric(), nullable=False),
        sa.Column("quantity_in_quote", sa.Boolean(), nullable=False),
        sa.Column("expiry", sa.BigInteger(), nullable=False),
        sa.Column("placed_block", sa.BigInteger(), nullable=False),
        sa.Column("placed_log_index", sa.Integer(), nullable=False),
        sa.Column("placed_at", sa.BigInteger(), nullable=False),
        sa.Column("tx", sa.LargeBinary(), nullable=False),
        sa.Column("filled", sa.Numeric(), nullable=False),
        sa.Column("quote_filled", sa.Numeric(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("updated_block", sa.BigInteger(), nullable=False),
        sa.Column("updated_log_index", sa.Integer(), nullable=False),
        sa.Column("queued", sa.Boolean(), nullable=False),
        sa.Column("next", sa.BigInteger(), nullable=False),
        sa.Column("prev", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("market", "order_id", name=op.f("orders_pk")),
        schema="tidebook",
    )
    op.create_index(
        op.f("orders_account_placed_block_placed_log_index"),
        "orders",
        ["account", "placed_block", "placed_log_index"],
        unique=False,
        schema="tidebook",
    )
    op.create_index(
        op.f("orders_market_placed_block_placed_log_index"),
        "orders",
        ["market", "placed_block", "placed_log_index"],
        unique=False,
        schema="tidebook",
    )
    op.create_index(
        op.f("orders_placed_block_placed_log_index"),
        "orders",
        ["placed_block", "placed_log_index"],
        unique=False,
        schema="tidebook",
    )
    op.create_index(
        "orders_queued",
        "orders",
        ["market", "side", "price"],
        unique=False,
        schema="tidebook",
        postgresql_where=sa.text("queued"),
    )
    op.create_table(
        "outbox",
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("outbox_pk")),
        schema="tidebook",
        comment="Messages in the order of their seq, kept for clients that resume.",
    )
    op.create_index(
        op.f("outbox_block_number"), "outbox", ["block_number"], unique=False, schema="tidebook"
    )
    op.create_index(
        op.f("outbox_channel_seq"), "outbox", ["channel", "seq"], unique=False, schema="tidebook"
    )
    op.create_table(
        "rollbacks",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("ancestor_number", sa.BigInteger(), nullable=False),
        sa.Column("ancestor_hash", sa.LargeBinary(), nullable=False),
        sa.Column("head_number", sa.BigInteger(), nullable=False),
        sa.Column("head_hash", sa.LargeBinary(), nullable=False),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.Column(
            "recorded_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("rollbacks_pk")),
        schema="tidebook",
        comment="Reorg history: how far each rollback went, and the head it took back.",
    )
    op.create_table(
        "tokens",
        sa.Column("address", sa.LargeBinary(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("decimals", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("address", name=op.f("tokens_pk")),
        schema="tidebook",
    )
    op.create_table(
        "trades",
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("log_index", sa.Integer(), nullable=False),
        sa.Column("market", sa.LargeBinary(), nullable=False),
        sa.Column("tx", sa.LargeBinary(), nullable=False),
        sa.Column("timestamp", sa.BigInteger(), nullable=False),
        sa.Column("price", sa.Numeric(), nullable=False),
        sa.Column("quantity", sa.Numeric(), nullable=False),
        sa.Column("quote_amount", sa.Numeric(), nullable=False),
        sa.Column("taker_side", sa.Text(), nullable=False),
        sa.Column("maker_order_id", sa.BigInteger(), nullable=False),
        sa.Column("taker_order_id", sa.BigInteger(), nullable=False),
        sa.Column("maker", sa.LargeBinary(), nullable=False),
        sa.Column("taker", sa.LargeBinary(), nullable=False),
        sa.Column("maker_fee", sa.Numeric(), nullable=True),
        sa.Column("taker_fee", sa.Numeric(), nullable=True),
        sa.Column("verified", sa.Boolean(), nullable=True),
        sa.Column("undecided", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("block_number", "log_index", name=op.f("trades_pk")),
        schema="tidebook",
        comment="One maker met one taker. Named by origin.",
    )
    op.create_index(
        op.f("trades_maker_block_number_log_index"),
        "trades",
        ["maker", "block_number", "log_index"],
        unique=False,
        schema="tidebook",
    )
    op.create_index(
        op.f("trades_market_block_number_log_index"),
        "trades",
        ["market", "block_number", "log_index"],
        unique=False,
        schema="tidebook",
    )
    op.create_index(
        op.f("trades_market_timestamp"),
        "trades",
        ["market", "timestamp"],
        unique=False,
        schema="tidebook",
    )
    op.create_index(
        op.f("trades_taker_block_number_log_index"),
        "trades",
        ["taker", "block_number", "log_index"],
        unique=False,
        schema="tidebook",
    )
    op.create_table(
        "undo",
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("before", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("after", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.PrimaryKeyConstraint("block_number", "ordinal", name=op.f("undo_pk")),
        schema="tidebook",
        comment="Images of what each block above finalized did to each record.",
    )


def downgrade() -> None:
    op.drop_table("undo", schema="tidebook")
    op.drop_index(
        op.f("trades_taker_block_number_log_index"), table_name="trades", schema="tidebook"
    )
    op.drop_index(op.f("trades_market_timestamp"), table_name="trades", schema="tidebook")
    op.drop_index(
        op.f("trades_market_block_number_log_index"), table_name="trades", schema="tidebook"
    )
    op.drop_index(
        op.f("trades_maker_block_number_log_index"), table_name="trades", schema="tidebook"
    )
    op.drop_table("trades", schema="tidebook")
    op.drop_table("tokens", schema="tidebook")
    op.drop_table("rollbacks", schema="tidebook")
    op.drop_index(op.f("outbox_channel_seq"), table_name="outbox", schema="tidebook")
    op.drop_index(op.f("outbox_block_number"), table_name="outbox", schema="tidebook")
    op.drop_table("outbox", schema="tidebook")
    op.drop_index(
        "orders_queued", table_name="orders", schema="tidebook", postgresql_where=sa.text("queued")
    )
    op.drop_index(
        op.f("orders_placed_block_placed_log_index"), table_name="orders", schema="tidebook"
    )
    op.drop_index(
        op.f("orders_market_placed_block_placed_log_index"), table_name="orders", schema="tidebook"
    )
    op.drop_index(
        op.f("orders_account_placed_block_placed_log_index"), table_name="orders", schema="tidebook"
    )
    op.drop_table("orders", schema="tidebook")
    op.drop_index(
        op.f("order_changes_market_order_id_block_number_ordinal"),
        table_name="order_changes",
        schema="tidebook",
    )
    op.drop_index(
        op.f("order_changes_account_block_number_ordinal"),
        table_name="order_changes",
        schema="tidebook",
    )
    op.drop_table("order_changes", schema="tidebook")
    op.drop_table("markets", schema="tidebook")
    op.drop_table("levels", schema="tidebook")
    op.drop_index(op.f("level_changes_block_number"), table_name="level_changes", schema="tidebook")
    op.drop_table("level_changes", schema="tidebook")
    op.drop_index(
        "events_unknown",
        table_name="events",
        schema="tidebook",
        postgresql_where=sa.text("name is null"),
    )
    op.drop_table("events", schema="tidebook")
    op.drop_index(
        op.f("divergences_market_block_number"), table_name="divergences", schema="tidebook"
    )
    op.drop_table("divergences", schema="tidebook")
    op.drop_table("cursors", schema="tidebook")
    op.drop_table("checkpoints", schema="tidebook")
    op.drop_table("channels", schema="tidebook")
    op.drop_table("candles", schema="tidebook")
    op.drop_index(
        "blocks_canonical_number",
        table_name="blocks",
        schema="tidebook",
        postgresql_where=sa.text("canonical"),
    )
    op.drop_table("blocks", schema="tidebook")
    op.drop_table("balances", schema="tidebook")
    op.drop_index(
        op.f("balance_changes_block_number"), table_name="balance_changes", schema="tidebook"
    )
    op.drop_table("balance_changes", schema="tidebook")
