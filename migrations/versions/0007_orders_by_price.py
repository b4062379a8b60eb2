"""Orders by price: the queue of a level at a past block, however long the chain."""

from alembic import op

revision = "0007"
down_revision = "0006"

NAME = "orders_market_side_price_placed_block_placed_log_index"


def upgrade() -> None:
    op.create_index(
        NAME,
        "orders",
        ["market", "side", "price", "placed_block", "placed_log_index"],
        schema="tidebook",
    )


def downgrade() -> None:
    op.drop_index(NAME, table_name="orders", schema="tidebook")
