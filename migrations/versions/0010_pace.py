"""The cursor knows how fast it moves, for whoever wants to know when it will be there."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

COLUMNS = ("events_per_s", "blocks_per_s")


def upgrade() -> None:
    for name in COLUMNS:
        op.add_column(
            "cursors",
            sa.Column(name, sa.Double(), nullable=False, server_default="0"),
            schema="tidebook",
        )


def downgrade() -> None:
    for name in COLUMNS:
        op.drop_column("cursors", name, schema="tidebook")
