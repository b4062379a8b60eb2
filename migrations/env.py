"""Alembic's entry: runs on the connection that migrations.upgrade gives it."""

from alembic import context

from migrations import SCHEMA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=context.config.attributes["metadata"],
    version_table_schema=SCHEMA,
    include_schemas=True,
    include_name=lambda name, type_, _: type_ != "schema" or name == SCHEMA,
    compare_type=True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
