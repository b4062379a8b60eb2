"""The outbox has a row for all messages that follow each other about one block, compressed.

What it held is given up, with the epoch that numbered it: the streams begin anew with a snapshot,
as they do behind a chain that went back below what was final. To pack millions of messages once
more would keep the writer waiting longer than its clients.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"

NEWEST = """
create view tidebook.channels as
select channel, max(seq) as seq
  from (select channel, seq from tidebook.links
         union all
        select told.channel, told.seq
          from tidebook.outbox o, unnest(o.channels, o.newest) as told (channel, seq)
         where o.seq > (select linked_seq from tidebook.cursors)
           and o.seq <= (select seq from tidebook.cursors)
           and o.seq + pg_backend_pid() > 0) as told
 group by channel
"""

NEWEST_OF_ROWS = """
create view tidebook.channels as
select channel, max(seq) as seq
  from (select channel, seq from tidebook.links
         union all
        select channel, seq from tidebook.outbox
         where seq > (select linked_seq from tidebook.cursors)
           and seq <= (select seq from tidebook.cursors)
           and pg_backend_pid() > 0) as told
 group by channel
"""

ANOTHER_EPOCH = """
update tidebook.cursors
   set epoch = substr(md5(random()::text || clock_timestamp()), 1, 12),
       linked_seq = seq, live = false
"""


def _empty() -> None:
    op.execute("drop view tidebook.channels")
    op.drop_table("outbox", schema="tidebook")
    op.execute("delete from tidebook.links")
    op.execute(ANOTHER_EPOCH)


def upgrade() -> None:
    _empty()
    op.create_table(
        "outbox",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("op", sa.Text(), nullable=False),
        sa.Column("channels", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("newest", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("messages", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="outbox_pk"),
        schema="tidebook",
        comment="Messages, bundled (indexer/bundle.py) by block: kept for clients that resume.",
    )
    op.create_index("outbox_block_number_seq", "outbox", ["block_number", "seq"], schema="tidebook")
    for column in ("channels", "messages"):  # to try to make them smaller costs more than it saves
        op.execute(f"alter table tidebook.outbox alter {column} set storage external")
    op.execute(NEWEST)


def downgrade() -> None:
    _empty()
    op.create_table(
        "outbox",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("prev_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="outbox_pk"),
        schema="tidebook",
        comment="Messages by seq, kept for clients that resume; each links to its channel's last.",
    )
    op.create_index(
        "outbox_system",
        "outbox",
        ["block_number", "seq"],
        schema="tidebook",
        postgresql_where=sa.text("channel = 'system'"),
    )
    op.execute(NEWEST_OF_ROWS)
