"""Orders that came back into the writer's memory: what a checkpoint from before does not hold."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "recalled",
        sa.Column("market", postgresql.BYTEA(), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("image", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("market", "order_id", "block_number", name=op.f("recalled_pk")),
        schema="tidebook",
        comment="Orders that came back into the writer's memory, as they were before that block.",
    )


def downgrade() -> None:
    op.drop_table("recalled", schema="tidebook")
