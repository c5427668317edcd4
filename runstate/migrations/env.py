"""Alembic's environment: the connection comes from `runstate.migrate`, which holds the database lock."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], version_table="holdfast_schema")
with context.begin_transaction():
    context.run_migrations()
