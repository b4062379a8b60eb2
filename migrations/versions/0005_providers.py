"""Providers: how the nodes that the writer asks are doing."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "providers",
        sa.Column("url_masked", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("score", sa.Integer(), nullable=False),
        sa.Column("head_number", sa.BigInteger()),
        sa.Column("faults", postgresql.JSONB(), nullable=False),
        sa.Column("last_fault", sa.Text()),
        sa.Column(
            "updated_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("url_masked", name=op.f("providers_pk")),
        schema="tidebook",
        comment="The nodes the writer asks, as of its last report; without secrets.",
    )


def downgrade() -> None:
    op.drop_table("providers", schema="tidebook")
