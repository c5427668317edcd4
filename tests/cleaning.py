"""Emptying the private servers between two tests."""

from __future__ import annotations

import pymysql
import redis
from pymysql.cursors import Cursor

from stack.endpoints import DATABASE, HOST
from stack.private import Servers

KEEP = {"holdfast_schema"}
_LOCK_WAIT_TIMEOUT = 1205

Connection = pymysql.connections.Connection


def flush_valkey(servers: Servers) -> None:
    """Flush every database of the server."""
    client = redis.Redis.from_url(servers.redis_url)
    client.flushall()
    client.close()


def table_names(servers: Servers) -> set[str]:
    """The tables of the application's database."""
    connection = _connect(servers)
    try:
        with connection.cursor() as cursor:
            return _tables(cursor)
    finally:
        connection.close()


def empty_database(servers: Servers, schema: frozenset[str], *, keep: frozenset[str] = frozenset()) -> None:
    """Truncate the tables of ``schema`` but ``keep`` that hold rows, drop every other table.

    A test that left a transaction open would block this for ever, so its connections are closed after a moment.
    """
    connection = _connect(servers)
    try:
        with connection.cursor() as cursor:
            tables = _tables(cursor)
            for table in sorted(tables - schema - KEEP):
                _insist(cursor, f"DROP TABLE {_quoted(table)}")
            for table in _filled(cursor, sorted((tables & schema) - KEEP - keep)):
                _insist(cursor, f"TRUNCATE TABLE {_quoted(table)}")
    finally:
        connection.close()


def _connect(servers: Servers) -> Connection[Cursor]:
    return pymysql.connect(
        host=HOST,
        port=servers.endpoints.mariadb_port,
        user="root",
        password=servers.endpoints.mariadb_root_password,
        database=DATABASE,
        autocommit=True,
        init_command="SET SESSION foreign_key_checks = 0, lock_wait_timeout = 2",
    )


def _quoted(table: str) -> str:
    return "`" + table.replace("`", "``") + "`"


def _tables(cursor: Cursor) -> set[str]:
    cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()")
    return {str(row[0]) for row in cursor.fetchall()}


def _filled(cursor: Cursor, tables: list[str]) -> list[str]:
    if not tables:
        return []
    cursor.execute(
        " UNION ALL ".join(f"SELECT '{table}' FROM DUAL WHERE EXISTS (SELECT 1 FROM `{table}`)" for table in tables)
    )
    return [str(row[0]) for row in cursor.fetchall()]


def _insist(cursor: Cursor, statement: str) -> None:
    try:
        cursor.execute(statement)
    except pymysql.err.OperationalError as error:
        if error.args[0] != _LOCK_WAIT_TIMEOUT:
            raise
        cursor.execute("SELECT id FROM information_schema.processlist WHERE user = %s", (DATABASE,))
        for (session,) in cursor.fetchall():
            cursor.execute(f"KILL CONNECTION {int(session)}")
        cursor.execute(statement)
