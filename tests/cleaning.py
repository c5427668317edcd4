"""Emptying the private servers between two tests."""

from __future__ import annotations

from collections.abc import Callable

import pymysql
import redis

from stack.endpoints import DATABASE, HOST
from stack.private import Servers

KEEP = {"alembic_version"}
_LOCK_WAIT_TIMEOUT = 1205


def empty_valkey(servers: Servers) -> None:
    """Flush every database of the server."""
    client = redis.Redis.from_url(servers.redis_url)
    client.flushall()
    client.close()


def empty_database(servers: Servers) -> None:
    """Truncate the tables that hold rows, drop the ones that the schema does not know.

    A test that left a transaction open would block this for ever, so its connections are closed after a moment.
    """
    connection = pymysql.connect(
        host=HOST,
        port=servers.endpoints.mariadb_port,
        user="root",
        password=servers.endpoints.mariadb_root_password,
        database=DATABASE,
        autocommit=True,
        init_command="SET SESSION foreign_key_checks = 0, lock_wait_timeout = 2",
    )
    try:
        with connection.cursor() as cursor:
            tables = _tables(cursor)
            known = schema_tables(lambda: set(tables))
            for table in sorted(set(tables) - known - KEEP):
                _insist(cursor, f"DROP TABLE `{table}`")
            for table in _filled(cursor, sorted(known & set(tables) - KEEP)):
                _insist(cursor, f"TRUNCATE TABLE `{table}`")
    finally:
        connection.close()


_schema: set[str] | None = None


def schema_tables(look: Callable[[], set[str]]) -> set[str]:
    """The tables that the migrations made, as ``look`` found them before the session's first test."""
    global _schema  # noqa: PLW0603 - one value a session
    if _schema is None:
        _schema = look()
    return _schema


def _tables(cursor: pymysql.cursors.Cursor) -> list[str]:
    cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()")
    return [str(row[0]) for row in cursor.fetchall()]


def _filled(cursor: pymysql.cursors.Cursor, tables: list[str]) -> list[str]:
    if not tables:
        return []
    cursor.execute(
        " UNION ALL ".join(f"SELECT '{table}' FROM DUAL WHERE EXISTS (SELECT 1 FROM `{table}`)" for table in tables)
    )
    return [str(row[0]) for row in cursor.fetchall()]


def _insist(cursor: pymysql.cursors.Cursor, statement: str) -> None:
    try:
        cursor.execute(statement)
    except pymysql.err.OperationalError as error:
        if error.args[0] != _LOCK_WAIT_TIMEOUT:
            raise
        cursor.execute("SELECT id FROM information_schema.processlist WHERE user = %s", (DATABASE,))
        for (session,) in cursor.fetchall():
            cursor.execute(f"KILL CONNECTION {int(session)}")
        cursor.execute(statement)
