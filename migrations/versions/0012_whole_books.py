"""Whole books now and then, and changes of a market's levels by block: past books at their size.

Books of the blocks there are follow from their changes, and are made here. Queues of broken lists
do not: of those that are not kept, the API says so.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

BY_RECORD = "level_changes_market_side_price_block_number"
BY_BLOCK = "level_changes_market_block_number"
EVERY_ORDERS = 256

FILL = f"""
do $$
declare
  due record;
  behind bigint := -1;
  of_market bytea := null;
  levels bigint;
  period bigint;
begin
  create temp table standing (
    side text, price numeric, quantity numeric, order_count int, block_number bigint,
    primary key (side, price)
  ) on commit drop;
  for due in
    select market, placed_block as number, array_agg(order_id) as ids from tidebook.orders
     where order_id % {EVERY_ORDERS} = 0 group by 1, 2 order by 1, 2
  loop
    if of_market is distinct from due.market then
      truncate standing;
      of_market := due.market;
      behind := -1;
    end if;
    insert into standing
    select distinct on (side, price) side, price, quantity, order_count, block_number
      from tidebook.level_changes
     where market = due.market and block_number > behind and block_number <= due.number
     order by side, price, block_number desc
        on conflict (side, price) do update
       set quantity = excluded.quantity, order_count = excluded.order_count,
           block_number = excluded.block_number;
    delete from standing where quantity = 0;
    behind := due.number;
    select count(*) into levels from standing;
    period := {EVERY_ORDERS};
    while period < levels loop period := period * 2; end loop;
    if exists (select from unnest(due.ids) id where id % period = 0) then
      insert into tidebook.books
      select due.market, due.number,
             coalesce('[' || string_agg(told, ',' order by price desc)
                             filter (where side = 'buy') || ']', '[]'),
             coalesce('[' || string_agg(told, ',' order by price)
                             filter (where side = 'sell') || ']', '[]')
        from (select side, price,
                     format('[%s,%s,%s,%s]', price, quantity, order_count, block_number) as told
                from standing) levels;
    end if;
  end loop;
end $$
"""


def upgrade() -> None:
    op.drop_index(BY_RECORD, "level_changes", schema="tidebook", if_exists=True)
    op.create_index(BY_BLOCK, "level_changes", ["market", "block_number"], schema="tidebook")
    op.create_table(
        "books",
        sa.Column("market", sa.LargeBinary(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("bids", sa.Text(), nullable=False),
        sa.Column("asks", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("market", "block_number", name="books_pk"),
        schema="tidebook",
        comment="A whole book after some blocks: JSON of (price, quantity, orders, block),"
        " best first.",
    )
    op.create_index("books_block_number", "books", ["block_number"], schema="tidebook")
    op.create_table(
        "queues",
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("market", sa.LargeBinary(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("price", sa.Numeric(), nullable=False),
        sa.Column("order_ids", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("block_number", "market", "side", "price", name="queues_pk"),
        schema="tidebook",
        comment="Who waited, after a block that touched it, at a level whose list is broken: JSON.",
    )
    op.execute(FILL)


def downgrade() -> None:
    op.drop_table("queues", schema="tidebook")
    op.drop_table("books", schema="tidebook")
    op.drop_index(BY_BLOCK, "level_changes", schema="tidebook")
    of = ["market", "side", "price", "block_number"]
    op.create_index(BY_RECORD, "level_changes", of, schema="tidebook")
