"""Bring a database's schema to the newest migration: ``DATABASE_URL=… python -m runstate.migrate``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from runstate.engine import make_engine
from runstate.errors import DatabaseUnavailable

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK_NAME = "holdfast_migrations"
LOCK_WAIT_S = 60
VERSION_TABLE = "holdfast_schema"


def migrate(engine: Engine) -> str:
    """Apply what is missing, under a database lock, so that hosts that start together take turns; return the revision.

    Raises `DatabaseUnavailable` if another migration holds the lock for longer than `LOCK_WAIT_S`.
    """
    with engine.connect() as guard, engine.connect() as connection:
        # GET_LOCK dies with its session, silently; here its session does nothing but wait, and DDL is what it guards.
        if guard.scalar(text("SELECT GET_LOCK(:name, :wait_s)"), {"name": LOCK_NAME, "wait_s": LOCK_WAIT_S}) != 1:
            raise DatabaseUnavailable(
                f"another migration has held {LOCK_NAME} for {LOCK_WAIT_S} s; see SHOW PROCESSLIST"
            )
        try:
            command.upgrade(_config(connection), "head")
            connection.commit()
        finally:
            guard.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": LOCK_NAME})
    return newest_revision()


def newest_revision() -> str:
    """The revision that this code stands on."""
    head = ScriptDirectory.from_config(_config(None)).get_current_head()
    assert head is not None
    return head


def current_revision(connection: Connection) -> str | None:
    """The revision that the database stands on, or None if it was never migrated."""
    found = connection.scalar(
        text("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = :name"),
        {"name": VERSION_TABLE},
    )
    return connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}")) if found else None


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def main() -> int:
    """Migrate the database of ``DATABASE_URL``, which stands in the environment or in ``var/stack.env``."""
    url = os.environ.get("DATABASE_URL") or _from_stack_env()
    if not url:
        print(
            "DATABASE_URL is not set: run `make up`, or set it to mysql+pymysql://user:password@host:port/database",
            file=sys.stderr,
        )
        return 2
    print(f"schema at revision {migrate(make_engine(url))}")
    return 0


def _from_stack_env() -> str | None:
    var = Path(os.environ.get("HOLDFAST_VAR") or Path(__file__).resolve().parent.parent / "var")
    file = var / "stack.env"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    found = [line.removeprefix("DATABASE_URL=") for line in lines if line.startswith("DATABASE_URL=")]
    return found[-1] if found else None


if __name__ == "__main__":
    sys.exit(main())
