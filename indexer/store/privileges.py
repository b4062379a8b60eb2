"""What a database role must be allowed: asked at the start, not found out in the middle.

Whoever lacks something is told the statements that grant it (tidebook/servers.md has them all).
"""

from indexer.store import analytics_tables, tables
from indexer.store.errors import NotAllowed
from indexer.store.postgres import Connection
from indexer.store.shape import SCHEMA

_FOLDED = [table.name for table in tables.ALL]
_KEPT = [table.name for table in analytics_tables.ALL]

Needs = tuple[list[str], list[str], bool]
"""Tables that are read, and that are written; and whether there must be temporary ones."""
READ: Needs = ([*_FOLDED, *_KEPT, "alembic_version", "channels", "events"], [], False)
WRITE: Needs = (READ[0], _FOLDED, True)
KEEP: Needs = (READ[0], _KEPT, False)


MOST_NAMED = 4
"""Tables of which more than so many are granted by no name."""


async def require(connection: Connection, needs: Needs) -> None:
    """Raise NotAllowed unless our role may do all this in the schema, if there is one."""
    lacking = await connection.fetchrow(_LACKING, *needs)
    assert lacking is not None, "an aggregate without a row"
    if lacking["grants"] is not None:
        raise NotAllowed(lacking["role"], lacking["grants"])


_LACKING = f"""
with needs (name, privilege) as (
  select name, 'select' from unnest($1::text[]) name
  union all
  select name, privilege
    from unnest($2::text[]) name, unnest(array['insert', 'update', 'delete']) privilege
), lacking (name, privileges) as (
  select relname, string_agg(privilege, ', ' order by privilege = 'select' desc, privilege)
    from needs join pg_class on relname = name and relnamespace = to_regnamespace('{SCHEMA}')
   where not has_table_privilege(pg_class.oid, privilege) group by relname
), grants (place, words) as (
  select 1, format('grant usage on schema {SCHEMA} to %I', current_user)
    from pg_namespace where nspname = '{SCHEMA}' and not has_schema_privilege(oid, 'usage')
  union all
  select 2, format('grant temporary on database %I to %I', current_database(), current_user)
   where $3 and not has_database_privilege(current_database(), 'temporary')
  union all
  select 3, format('grant %s on %s to %I', privileges, case
           when count(*) > {MOST_NAMED} then 'all tables in schema {SCHEMA}'
           else string_agg('{SCHEMA}.' || name, ', ' order by name) end, current_user)
    from lacking group by privileges
)
select current_user as role, string_agg(words, '; ' order by place, words) as grants from grants
"""
"""Asks the catalog only, which everybody may read."""
