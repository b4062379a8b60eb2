"""The cursor counts the events written, for whoever wants to know how fast they come."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column(
        "cursors",
        sa.Column("events", sa.BigInteger(), nullable=False, server_default="0"),
        schema="tidebook",
    )
    op.execute("update tidebook.cursors set events = (select count(*) from tidebook.events)")


def downgrade() -> None:
    op.drop_column("cursors", "events", schema="tidebook")
