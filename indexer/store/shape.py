"""What a table is, as plain values: the words in which store/tables.py tells the schema.

Whoever writes needs names and types to write SQL of, and no SQLAlchemy, which takes longer to load
than all of a writer's own modules; readers build their queries of store/relations.py.
"""

from typing import Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

SCHEMA = "tidebook"

Type: TypeAlias = Literal[
    "bytea",
    "numeric",
    "text",
    "bigint",
    "integer",
    "smallint",
    "boolean",
    "jsonb",
    "double precision",
    "timestamptz",
    "bigint[]",
    "integer[]",
    "bytea[]",
    "text[]",
]
"""As Postgres calls them. `bytea` holds hashes and addresses, `0x…` text everywhere else;
`numeric` amounts, int everywhere else: sums of uint256, which anybody's worthless token can make
grow, must not outgrow their column, so it has no precision."""

Content: TypeAlias = Literal["words", "free text", "long"]
"""What is in a text or a bytea, where that matters for writing it:

words:      lower case and our own, nothing that JSON or a COPY would escape.
free text:  from the chain: a symbol may hold anything.
long:       perhaps a megabyte: Postgres takes it from a COPY five times as fast as elsewhere.
"""


class Column(Struct, frozen=True):
    """A column. `told_by`: under what name rows have its value, if not its own."""

    name: str
    type: Type
    is_key: bool = False
    nullable: bool = False
    content: Content | None = None
    told_by: str = ""
    default: str = ""
    """SQL of the value of rows that tell none: Postgres fills it."""
    numbered: bool = False
    """Postgres counts its rows in it."""
    unique: bool = False

    @property
    def attribute(self) -> str:
        """Under what name a row has its value."""
        return self.told_by or self.name

    @property
    def is_written(self) -> bool:
        """Whether it is ours to fill."""
        return not self.default and not self.numbered


class Index(Struct, frozen=True):
    """An index, or the primary key: what Postgres can do without for a while."""

    table: str
    name: str
    columns: tuple[str, ...]
    unique: bool = False
    where: str = ""
    is_key: bool = False


class Check(Struct, frozen=True):
    """A condition on every row."""

    name: str
    condition: str


class Table(Struct, frozen=True, eq=False):
    """A table; in SQL it is its name."""

    name: str
    columns: dict[str, Column]
    key: Index
    indexes: tuple[Index, ...] = ()
    checks: tuple[Check, ...] = ()
    comment: str | None = None

    def __str__(self) -> str:
        return f"{SCHEMA}.{self.name}"

    @property
    def key_columns(self) -> list[Column]:
        """The columns of its primary key, in order."""
        return [self.columns[name] for name in self.key.columns]


def table(name: str, *parts: Column | Index | Check, comment: str | None = None) -> Table:
    """A table of its parts, in order."""
    columns = {one.name: one for one in parts if isinstance(one, Column)}
    keys = tuple(one.name for one in columns.values() if one.is_key)
    return Table(
        name,
        columns,
        Index(f"{SCHEMA}.{name}", f"{name}_pk", keys, unique=True, is_key=True),
        tuple(_of(name, one) for one in parts if isinstance(one, Index)),
        tuple(one for one in parts if isinstance(one, Check)),
        comment,
    )


def index(*columns: str, name: str = "", unique: bool = False, where: str = "") -> Index:
    """An index of the table it is a part of; its name, if it has none, is what it is of."""
    return Index("", name, columns, unique, where)


def _of(table: str, index: Index) -> Index:
    name = index.name or "_".join((table, *index.columns))
    return replace(index, table=f"{SCHEMA}.{table}", name=name)
