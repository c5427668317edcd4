"""The migrations add up to the models."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from runstate import migrate
from runstate.engine import make_engine
from runstate.models import metadata
from stack.private import Servers
from tasks.registry import kinds


def test_the_schema_equals_all_migrations(database_url: str) -> None:
    """Every table and column of the models, and none else, with type, nullability, keys and indexes."""
    kinds()
    engine = make_engine(database_url)
    ours = set(metadata.tables)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "compare_server_default": False,
                "version_table": migrate.VERSION_TABLE,
                "include_name": lambda name, kind, _parents: kind != "table" or name in ours,
            },
        )
        differences = compare_metadata(context, metadata)
    assert differences == []


def test_migrating_again_and_from_many_hosts_changes_nothing(database_url: str) -> None:
    """Hosts that start together take turns under the database lock."""
    engine = make_engine(database_url)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: migrate.migrate(engine), range(4))) == {migrate.newest_revision()}
    with engine.connect() as connection:
        assert migrate.current_revision(connection) == migrate.newest_revision()


def test_an_empty_database_is_brought_to_the_newest_revision(servers: Servers) -> None:
    """From nothing, in one go."""
    servers.mariadb.start()
    admin = make_engine(servers.admin_url)
    with admin.connect() as connection:
        connection.execute(text("CREATE DATABASE fresh CHARACTER SET utf8mb4"))
        connection.commit()
    fresh = make_engine(servers.admin_url.replace("/holdfast", "/fresh"))
    try:
        assert migrate.migrate(fresh) == migrate.newest_revision()
        with fresh.connect() as connection:
            found = {row[0] for row in connection.execute(text("SHOW TABLES"))}
        assert set(metadata.tables) <= found
    finally:
        with admin.connect() as connection:
            connection.execute(text("DROP DATABASE fresh"))
            connection.commit()
