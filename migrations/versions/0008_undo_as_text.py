"""Images in `undo` as the text they are: only the writer reads them, and parsed nobody needs them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    for column in ("before", "after"):
        op.alter_column("undo", column, type_=sa.Text(), schema="tidebook")


def downgrade() -> None:
    for column in ("before", "after"):
        op.alter_column(
            "undo",
            column,
            type_=postgresql.JSONB(),
            postgresql_using=f"{column}::jsonb",
            schema="tidebook",
        )
