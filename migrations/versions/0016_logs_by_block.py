"""Raw logs are a row a block: see `logs` in indexer/store/tables.py. `events` is a view of them.

A row for each log and its entry in an index cost more than what it holds, which compresses badly
and is read by block.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0016"
down_revision = "0015"

PLACES = ("log_index", "of_tx", "of_kind", "ends")

UNPACKED = """
create view tidebook.events as
select l.block_number, i.log_index, l.txs[i.tx + 1] as tx,
       l.address[i.kind + 1] as address, l.name[i.kind + 1] as name,
       l.topic0[i.kind + 1] || substring(l.words from i.start + 1 for 32 * l.others[i.kind + 1])
         as topics,
       substring(l.words from i.start + 1 + 32 * l.others[i.kind + 1]
                 for i.stop - i.start - 32 * l.others[i.kind + 1]) as data
  from tidebook.logs l,
       unnest(l.log_index, l.of_tx, l.of_kind, array_prepend(0, trim_array(l.ends, 1)), l.ends)
         as i (log_index, tx, kind, start, stop)
"""

MOVE = """
insert into tidebook.logs
select block_number, count(*) filter (where name is null), array_agg(log_index),
       array_agg(place), array_agg(place), array_agg(stop), array_agg(tx), array_agg(address),
       array_agg(substring(topics for 32)), array_agg(greatest(length(topics) / 32 - 1, 0)),
       array_agg(name), string_agg(words, '')
  from (select *, (row_number() over block - 1)::int as place,
               (sum(length(words)) over block)::int as stop
          from (select *, substring(topics from 33) || data as words from tidebook.events) e
        window block as (partition by block_number order by log_index)
         order by block_number, log_index) e
 group by block_number
"""
"""Nothing is shared here: it may be, and need not."""


def upgrade() -> None:
    op.create_table(
        "logs",
        sa.Column("block_number", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("unknown", sa.Integer(), nullable=False),
        *(sa.Column(name, ARRAY(sa.Integer()), nullable=False) for name in PLACES),
        sa.Column("txs", ARRAY(sa.LargeBinary()), nullable=False),
        sa.Column("address", ARRAY(sa.LargeBinary()), nullable=False),
        sa.Column("topic0", ARRAY(sa.LargeBinary()), nullable=False),
        sa.Column("others", ARRAY(sa.Integer()), nullable=False),
        sa.Column("name", ARRAY(sa.Text()), nullable=False),
        sa.Column("words", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("block_number", name="logs_pk"),
        schema="tidebook",
        comment="Every log of the followed contracts, raw, a row a block: read the view `events`.",
    )
    for column in (*PLACES, "txs", "address", "topic0", "others", "name", "words"):
        op.execute(f"alter table tidebook.logs alter column {column} set storage external")
    op.execute(MOVE)
    op.create_index(
        "logs_unknown",
        "logs",
        ["unknown"],
        schema="tidebook",
        postgresql_where=sa.text("unknown > 0"),
    )
    op.drop_table("events", schema="tidebook")
    op.execute(UNPACKED)


def downgrade() -> None:
    op.execute("alter view tidebook.events rename to unpacked")
    op.create_table(
        "events",
        sa.Column("block_number", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("log_index", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("tx", sa.LargeBinary(), nullable=False),
        sa.Column("address", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.Text()),
        sa.Column("topics", sa.LargeBinary(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("block_number", "log_index", name="events_pk"),
        schema="tidebook",
        comment="Every log of the followed contracts, raw; name is null where no ABI knows its topic.",
    )
    op.execute(
        "insert into tidebook.events select * from tidebook.unpacked order by block_number, log_index"
    )
    op.create_index(
        "events_unknown",
        "events",
        ["block_number"],
        schema="tidebook",
        postgresql_where=sa.text("name is null"),
    )
    op.execute("drop view tidebook.unpacked")
    op.drop_table("logs", schema="tidebook")
