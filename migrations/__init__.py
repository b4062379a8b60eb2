"""The schema's history, and the way to its head.

The versions are plain Alembic operations; `indexer/store/tables.py` says where they must arrive,
and a test proves that they do. A database in its first sync may be without any index that only
readers need (indexer/store/indexes.py), so a version that drops one says `if_exists`.
"""

SCHEMA = "tidebook"
HEAD = "0018"
"""The revision this code works with (a test holds it to the newest file in versions/)."""


class Refused(Exception):
    """The database cannot get our schema: it has a newer one, or does not take every text."""


async def upgrade(database_url: str) -> str | None:
    """Bring the schema to HEAD; returns the revision it had (None: there was no schema).

    Safe to run from several processes at once. Raises Refused, and then changes nothing.
    """
    from migrations.history import upgrade as bring

    return await bring(database_url)
