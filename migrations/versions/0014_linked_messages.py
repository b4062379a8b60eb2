"""Messages of the outbox link to the one before them in their channel: no index names channels.

A message went into three indexes, two of them in no order of theirs. A client that resumes is told
by following the links back from `channels`; what only `system` messages are asked for has an index
of those.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.add_column("outbox", sa.Column("prev_seq", sa.BigInteger()), schema="tidebook")
    op.execute("update tidebook.outbox set prev_seq = (message::json ->> 'prev_seq')::bigint")
    op.alter_column("outbox", "prev_seq", nullable=False, schema="tidebook")
    op.drop_index("outbox_channel_seq", table_name="outbox", schema="tidebook")
    op.drop_index("outbox_block_number", table_name="outbox", schema="tidebook")
    op.create_index(
        "outbox_system",
        "outbox",
        ["block_number", "seq"],
        schema="tidebook",
        postgresql_where=sa.text("channel = 'system'"),
    )
    op.create_table_comment(
        "outbox",
        "Messages by seq, kept for clients that resume; each links to its channel's last.",
        schema="tidebook",
    )


def downgrade() -> None:
    op.drop_index("outbox_system", table_name="outbox", schema="tidebook")
    op.create_index("outbox_block_number", "outbox", ["block_number"], schema="tidebook")
    op.create_index("outbox_channel_seq", "outbox", ["channel", "seq"], schema="tidebook")
    op.drop_column("outbox", "prev_seq", schema="tidebook")
    op.create_table_comment(
        "outbox",
        "Messages in the order of their seq, kept for clients that resume.",
        schema="tidebook",
    )
