"""Changes of levels and balances lie as they come: by block, so that a new row goes to the end.

Readers' order, one level's or one balance's changes, is an index of its own. There are as many
indexes as before; the key now also serves what an index by block alone did.
"""

from alembic import op

revision = "0011"
down_revision = "0010"

KEYS = {
    "level_changes": ["market", "side", "price"],
    "balance_changes": ["account", "token"],
}


def upgrade() -> None:
    for table, of in KEYS.items():
        op.drop_constraint(f"{table}_pk", table, schema="tidebook")
        op.create_primary_key(f"{table}_pk", table, ["block_number", *of], schema="tidebook")
        op.drop_index(f"{table}_block_number", table, schema="tidebook")
        by_record = [*of, "block_number"]
        op.create_index(f"{table}_{'_'.join(by_record)}", table, by_record, schema="tidebook")


def downgrade() -> None:
    for table, of in KEYS.items():
        by_record = [*of, "block_number"]
        op.drop_index(f"{table}_{'_'.join(by_record)}", table, schema="tidebook", if_exists=True)
        op.create_index(f"{table}_block_number", table, ["block_number"], schema="tidebook")
        op.drop_constraint(f"{table}_pk", table, schema="tidebook")
        op.create_primary_key(f"{table}_pk", table, by_record, schema="tidebook")
