"""Safe blocks: how far the node calls blocks safe."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("cursors", sa.Column("safe_number", sa.BigInteger()), schema="tidebook")


def downgrade() -> None:
    op.drop_column("cursors", "safe_number", schema="tidebook")
