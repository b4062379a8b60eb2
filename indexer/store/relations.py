"""The tables as SQLAlchemy's: what readers build their queries of, and migrations must reach.

They are told in store/tables.py and store/analytics_tables.py.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Identity,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP
from sqlalchemy.types import TypeEngine

from indexer.store import analytics_tables, shape, tables
from indexer.store.columns import Hex, Units

metadata = MetaData(
    schema=shape.SCHEMA,
    naming_convention={"pk": "%(table_name)s_pk", "ck": "%(table_name)s_%(constraint_name)s"},
)

_TYPES: dict[shape.Type, type[TypeEngine[Any]] | TypeEngine[Any]] = {
    "bytea": Hex,
    "numeric": Units,
    "text": Text,
    "bigint": BigInteger,
    "integer": Integer,
    "smallint": SmallInteger,
    "boolean": Boolean,
    "jsonb": JSONB,
    "double precision": Double,
    "timestamptz": TIMESTAMP(timezone=True),
    "bigint[]": ARRAY(BigInteger),
    "integer[]": ARRAY(Integer),
    "bytea[]": ARRAY(Hex),
    "text[]": ARRAY(Text),
}


def _table(told: shape.Table) -> Table:
    return Table(
        told.name,
        metadata,
        *map(_column, told.columns.values()),
        *(CheckConstraint(one.condition, name=one.name) for one in told.checks),
        *map(_index, told.indexes),
        comment=told.comment,
    )


def _column(told: shape.Column) -> Column[Any]:
    return Column(
        told.name,
        _TYPES[told.type],
        *([Identity()] if told.numbered else []),
        primary_key=told.is_key,
        nullable=told.nullable,
        unique=told.unique or None,
        server_default=text(told.default) if told.default else None,
    )


def _index(told: shape.Index) -> Index:
    where = text(told.where) if told.where else None
    return Index(told.name, *told.columns, unique=told.unique, postgresql_where=where)


blocks = _table(tables.blocks)
logs = _table(tables.logs)
trades = _table(tables.trades)
order_changes = _table(tables.order_changes)
level_changes = _table(tables.level_changes)
books = _table(tables.books)
queues = _table(tables.queues)
balance_changes = _table(tables.balance_changes)
tokens = _table(tables.tokens)
markets = _table(tables.markets)
orders = _table(tables.orders)
levels = _table(tables.levels)
balances = _table(tables.balances)
candles = _table(tables.candles)
undo = _table(tables.undo)
cursors = _table(tables.cursors)
outbox = _table(tables.outbox)
links = _table(tables.links)
rollbacks = _table(tables.rollbacks)
providers = _table(tables.providers)
checkpoints = _table(tables.checkpoints)
recalled = _table(tables.recalled)
divergences = _table(tables.divergences)

analytics_cursor = _table(analytics_tables.analytics_cursor)
analytics_tops = _table(analytics_tables.analytics_tops)

channels = Table(
    "channels",
    MetaData(schema=shape.SCHEMA),  # a view
    Column("channel", Text, primary_key=True, nullable=False),
    Column("seq", BigInteger, nullable=False),
)
"""Each channel's newest seq: those of `links`, and what the outbox has that is newer."""
