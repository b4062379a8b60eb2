"""Which message is each channel's newest is saved now and then: `channels` is a view.

To write that over with every block was a tenth of what a block costs Postgres. What is newer than
the table `links` is in the outbox, which the view reads from the cursor's `linked_seq` on.

The planner knows nothing of that range. As it has two ends, a two-hundredth of the outbox is
expected instead of a third; as workers may not call pg_backend_pid, none are started for it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"

NEWEST = """
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

SAVE = """
insert into tidebook.links select * from tidebook.channels
    on conflict (channel) do update set seq = excluded.seq where links.seq < excluded.seq
"""


def upgrade() -> None:
    op.add_column(
        "cursors",
        sa.Column("linked_seq", sa.BigInteger(), nullable=False, server_default="0"),
        schema="tidebook",
    )
    op.execute("update tidebook.cursors set linked_seq = seq")
    op.execute("alter table tidebook.channels rename constraint channels_pk to links_pk")
    op.rename_table("channels", "links", schema="tidebook")
    op.create_table_comment(
        "links",
        "Each channel's newest seq as of cursors.linked_seq: read the view `channels`.",
        schema="tidebook",
    )
    op.execute(NEWEST)


def downgrade() -> None:
    op.execute(SAVE)
    op.execute("drop view tidebook.channels")
    op.rename_table("links", "channels", schema="tidebook")
    op.execute("alter table tidebook.channels rename constraint links_pk to channels_pk")
    op.create_table_comment(
        "channels", "The newest seq of each channel, for prev_seq.", schema="tidebook"
    )
    op.drop_column("cursors", "linked_seq", schema="tidebook")
