"""No index knows which orders wait, so one that leaves its queue stays where it is in all others."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.drop_index("orders_queued", table_name="orders", schema="tidebook", if_exists=True)


def downgrade() -> None:
    op.create_index(
        "orders_queued",
        "orders",
        ["market", "side", "price"],
        schema="tidebook",
        postgresql_where=sa.text("queued"),
    )
