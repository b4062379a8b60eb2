"""What takes a block back is one row, deflated: see indexer/store/undo.py.

Pages of orders, levels, balances and channels keep room: a row that is written over stays where it
is, and its indexes need not be told.
"""

import json
import zlib
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

WRITTEN_OVER = ("orders", "levels", "balances", "channels", "cursors")

_old = sa.table(
    "undo",
    *(sa.column(name) for name in ("block_number", "ordinal", "kind", "before", "after")),
    schema="tidebook",
)
_new = sa.table("undo", sa.column("block_number"), sa.column("images"), schema="tidebook")


def upgrade() -> None:
    order = (_old.c.block_number, _old.c.ordinal)
    rows = op.get_bind().execute(sa.select(_old).order_by(*order)).all()
    op.drop_table("undo", schema="tidebook")
    op.create_table(
        "undo",
        sa.Column("block_number", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("images", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("block_number", name="undo_pk"),
        schema="tidebook",
        comment="What each block above finalized did to each record, to take it back.",
    )
    op.execute("alter table tidebook.undo alter column images set storage external")
    if packed := [
        {"block_number": number, "images": _pack(of_block)}
        for number, of_block in groupby(rows, lambda row: row.block_number)
    ]:
        op.bulk_insert(_new, packed)
    for table in WRITTEN_OVER:
        op.execute(f"alter table tidebook.{table} set (fillfactor = 70)")


def _pack(rows: Iterator[Any]) -> bytes:
    found: dict[str, tuple[list[str], list[list[list[Any] | None]]]] = {}
    for row in rows:
        images = [None if text is None else json.loads(text) for text in (row.before, row.after)]
        names = next((list(image) for image in images if image is not None), [])
        values = [None if image is None else list(image.values()) for image in images]
        found.setdefault(row.kind, (names, []))[1].append(values)
    return zlib.compress(json.dumps(found).encode(), 1)


def downgrade() -> None:
    rows = op.get_bind().execute(sa.select(_new).order_by(_new.c.block_number)).all()
    op.drop_table("undo", schema="tidebook")
    op.create_table(
        "undo",
        sa.Column("block_number", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("ordinal", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("before", sa.Text()),
        sa.Column("after", sa.Text()),
        sa.PrimaryKeyConstraint("block_number", "ordinal", name="undo_pk"),
        schema="tidebook",
        comment="Images of what each block above finalized did to each record.",
    )
    if unpacked := [one for row in rows for one in _unpack(row.block_number, row.images)]:
        op.bulk_insert(_old, unpacked)
    for table in WRITTEN_OVER:
        op.execute(f"alter table tidebook.{table} reset (fillfactor)")


def _unpack(number: int, packed: bytes) -> Iterator[dict[str, Any]]:
    ordinal = 0
    for kind, (names, images) in json.loads(zlib.decompress(packed)).items():
        for both in images:
            before, after = (
                None if values is None else json.dumps(dict(zip(names, values, strict=True)))
                for values in both
            )
            yield {
                "block_number": number,
                "ordinal": ordinal,
                "kind": kind,
                "before": before,
                "after": after,
            }
            ordinal += 1
