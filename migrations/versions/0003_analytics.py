"""Analytics' own tables: the book block by block, and how far it has been folded."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "analytics_cursor",
        sa.Column("one", sa.Boolean(), nullable=False),
        sa.Column("epoch", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("block_number", sa.BigInteger()),
        sa.Column("block_hash", sa.LargeBinary()),
        sa.CheckConstraint("one", name=op.f("analytics_cursor_one")),
        sa.PrimaryKeyConstraint("one", name=op.f("analytics_cursor_pk")),
        schema="tidebook",
        comment="Up to which message of the depth stream analytics_tops has been folded.",
    )
    op.create_table(
        "analytics_tops",
        sa.Column("market", sa.LargeBinary(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("timestamp", sa.BigInteger(), nullable=False),
        sa.Column("bid", sa.Numeric()),
        sa.Column("bid_quantity", sa.Numeric(), nullable=False),
        sa.Column("ask", sa.Numeric()),
        sa.Column("ask_quantity", sa.Numeric(), nullable=False),
        sa.Column("bid_depth", JSONB(), nullable=False),
        sa.Column("ask_depth", JSONB(), nullable=False),
        sa.Column("order_flow", sa.Numeric(), nullable=False),
        sa.PrimaryKeyConstraint("market", "block_number", name=op.f("analytics_tops_pk")),
        schema="tidebook",
        comment="A market's top and depth at the end of each block that changed its book.",
    )


def downgrade() -> None:
    op.drop_table("analytics_tops", schema="tidebook")
    op.drop_table("analytics_cursor", schema="tidebook")
