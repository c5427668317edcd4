"""Many rows in few statements, their values written out as literals: the driver's own way costs as much as all else of a row.

Identifiers come from the code or the server's schema, never from data; values pass `literals`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from pymysql.constants.SERVER_STATUS import SERVER_STATUS_NO_BACKSLASH_ESCAPES
from sqlalchemy import Connection, CursorResult

MAX_CHARACTERS = 400_000
"""Of a statement: in UTF-8 it stays well within MySQL's smallest default packet (4 MiB)."""

Literal = Callable[[Any], str]


def literals(connection: Connection) -> Literal:
    """What writes a value as this session's server reads it."""
    driver: Any = connection.connection.dbapi_connection
    backslash_escapes = not driver.server_status & SERVER_STATUS_NO_BACKSLASH_ESCAPES

    def literal(value: Any) -> str:
        kind = type(value)
        if kind is str:
            text: str = value.replace("'", "''")
            return "'" + (text.replace("\\", "\\\\") if backslash_escapes else text) + "'"
        if value is None:
            return "NULL"
        if kind is int:
            return str(value)
        if kind is datetime:
            return f"'{value.isoformat(' ')}'"
        return str(driver.escape(value, driver.encoders))

    return literal


def execute(connection: Connection, statement: str) -> CursorResult[Any]:
    """Run a statement that has its values in it."""
    return connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


def write_rows(connection: Connection, head: str, rows: Iterable[str], tail: str = "", separator: str = ", ") -> None:
    """Run ``head``, rows, ``tail`` as often as it takes to keep each statement within `MAX_CHARACTERS`; of no rows, never."""
    part: list[str] = []
    size = 0
    for row in rows:
        if part and size + len(row) > MAX_CHARACTERS:
            execute(connection, head + separator.join(part) + tail)
            part, size = [], 0
        part.append(row)
        size += len(row) + len(separator)
    if part:
        execute(connection, head + separator.join(part) + tail)
