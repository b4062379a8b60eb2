"""Indexes that a first sync goes without, and builds at its end: readers' own, and keys of changes.

Keeping them row by row is more than half of what a history asks of Postgres, building them over all
rows a quarter of that; keys least of all, since rows come by key. What is missing is seen by
comparing the database with the tables, so whatever ends a sync, or a building, the next start
knows. Readers are served meanwhile, only slower.
"""

from collections.abc import Callable

from indexer.store import tables
from indexer.store.database import Database
from indexer.store.shape import SCHEMA, Index, Table

LEAST_BLOCKS = 1_000
"""Blocks before a first sync for which it goes without: building takes 30 ms also of no rows."""

_APPENDED = (tables.balance_changes, tables.order_changes, tables.level_changes)
"""Nobody looks for one by its key in a first sync, and one written twice is found when that is
built. Trades keep theirs: the newest are what everybody asks for, and there are few."""
_FILLED = (
    *(tables.balance_changes, tables.order_changes, tables.orders, tables.level_changes),
    *(tables.trades, tables.divergences),
)
"""The tables of the past that have such indexes, those of many rows first: of two who build, none
is left with a large one when the other has done."""


def _of(table: Table) -> list[Index]:
    # a unique one is a promise, and one of few rows costs nothing
    found = [index for index in table.indexes if not index.unique and not index.where]
    return [*found, table.key] if table in _APPENDED else found


SPARED: tuple[Index, ...] = tuple(index for table in _FILLED for index in _of(table))

_NAMES = ", ".join(f"'{index.name}'" for index in SPARED)
MISSING = f"""(
  select count(*) from unnest(array[{_NAMES}]) as names (name)
   where to_regclass('{SCHEMA}.' || name) is null)"""
"""How many are to be built: an expression in SQL."""


class Indexes:
    """Those of one database, as its writer treats them."""

    def __init__(self, database: Database, say: Callable[[str], None]) -> None:
        self._database = database
        self._say = say
        self._missing: list[Index] = []
        self._is_first = self._may = False

    async def look(self, *, is_first: bool) -> None:
        """See what is missing. `is_first`: nothing has been indexed yet."""
        there = await self._database.indexes()
        self._missing = [index for index in SPARED if index.name not in there]
        self._may = await self._database.owns_tables()
        self._is_first = is_first

    async def spare(self, blocks: int) -> None:
        """Drop them before so many blocks, if these are the first and worth it.

        Somebody may be reading just now, and whoever comes next would wait for us: then they stay.
        """
        if self._is_first and blocks >= LEAST_BLOCKS:
            self._is_first = False
            if self._may:
                if await self._database.drop_indexes(SPARED):
                    self._missing = list(SPARED)
            elif not self._missing:
                self._say(_STAY)

    async def complete(self) -> None:
        """Build what is missing: each is there or not, whenever we are killed."""
        if self._missing and not self._may:
            self._say(_LACK.format(len(self._missing)))
            self._missing = []
        elif self._missing:
            self._say(f"building {len(self._missing)} indexes that the first sync went without")
            await self._database.create_indexes(self._missing)
            self._missing = []


_STAY = (
    "this first sync keeps all indexes up to date, and takes longer: only a role that owns the "
    "tables may go without them"
)
_LACK = (
    "{} indexes are missing, so readers are slower and not ready: only a role that owns the tables "
    "may build them; run `tidebook index` as one"
)
