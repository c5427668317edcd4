"""The kind's SQL: rows into the target in few large statements, with exact counts, and the bad ones found one by one.

It runs inside a transaction that somebody else commits.  A statement that fails is undone as a whole by InnoDB and the
transaction goes on; after a deadlock or a lock wait it does not, so those errors are passed on, to be redone from the start.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pymysql.constants.CLIENT import FOUND_ROWS
from pymysql.constants.SERVER_STATUS import SERVER_STATUS_NO_BACKSLASH_ESCAPES
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tasks.imports.errors import Problem, ServerChangedValues
from tasks.imports.load import load_new_rows
from tasks.imports.refusals import refusal
from tasks.imports.rows import Rows
from tasks.imports.statement import PROBE, Statement

FIRST_ROWS = 256
"""How many rows go first: if all of them are new, the rest most likely is, too, and is tried the quick way."""
ONE_BY_ONE_FROM = 64
"""Bad rows in a chunk from which halving costs more statements than it saves."""
HARMLESS_WARNINGS = {1287, 1592}
"""Of the statement, not of a value: VALUES() is deprecated (MySQL 8), unsafe for statement-based replication."""
_STATEMENT_SHOWN = 200


@dataclass(slots=True)
class Written:
    """What became of the rows; ``problems`` by their numbers."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    problems: dict[int, Problem] = field(default_factory=dict)


def write_rows(connection: Connection, statement: Statement, rows: Rows) -> Written:
    """Write ``rows`` in their order; every row is inserted, updated, unchanged or in ``problems``, and counted so.

    Raises `ServerChangedValues` where the server took a row with a warning; driver errors that are not a row's pass through.
    """
    _check_session(connection)
    written = Written()
    for start, end in _statements(statement, rows, written):
        _write(connection, statement, rows, start, end, written)
        if start == 0 and written.inserted == end and load_new_rows(connection, statement, rows.values[end:]):
            written.inserted = len(rows.values)
            break
    return written


def _write(connection: Connection, statement: Statement, rows: Rows, start: int, end: int, written: Written) -> None:
    """One statement; where rows in it are bad, its halves, and theirs, until the bad rows stand alone."""
    waiting = [(start, end)]
    while waiting:
        start, end = waiting.pop()
        try:
            _execute(connection, statement, rows.values[start:end], written)
        except DBAPIError as error:
            problem = refusal(error, statement.guarded)
            if problem is None:
                # Its message would repeat the whole statement, a megabyte of somebody's data.
                error.statement = (error.statement or "")[:_STATEMENT_SHOWN]
                raise
            if end - start == 1:
                written.problems[rows.numbers[start]] = problem
            elif len(written.problems) >= ONE_BY_ONE_FROM:
                waiting.extend((place, place + 1) for place in range(end - 1, start - 1, -1))
            else:
                middle = (start + end) // 2
                waiting += [(middle, end), (start, middle)]


def _execute(connection: Connection, statement: Statement, values: list[str], written: Written) -> None:
    """Run the statement and count what it did.

    With FOUND_ROWS the server answers `affected` = inserted + 2 updated + unchanged, and in its text Duplicates = updated +
    unchanged; so updated = affected - rows.  For a single row it sends no text, and inserted and unchanged both affect 1
    row: there, a user variable that only the update sets tells the two apart.
    """
    single = statement.upserts and len(values) == 1
    if single:
        connection.info["holdfast_probe"] = number = connection.info.get("holdfast_probe", 0) + 1
        sql = f"{statement.head}({values[0]}){statement.probe.replace(PROBE, str(number))}"
    else:
        sql = statement.text(values)
    affected = connection.exec_driver_sql(sql, execution_options={"no_parameters": True}).rowcount
    answer = _answer(connection)
    if answer.warning_count:
        _check_warnings(connection)
    if not statement.upserts:
        written.inserted += affected
        return
    if single:
        duplicates = int(connection.exec_driver_sql("SELECT @holdfast").scalar() == number)
    else:
        # PyMySQL leaves the text's length in front of it, a byte that may itself look like a digit.
        duplicates = int(re.findall(rb": (\d+)", answer.message)[1])
    updated = affected - len(values)
    if not 0 <= updated <= duplicates <= len(values):
        raise AssertionError(
            f"{len(values)} rows, {affected} affected, {duplicates} duplicates: these counts cannot be"
        )
    written.inserted += len(values) - duplicates
    written.updated += updated
    written.unchanged += duplicates - updated


def _statements(statement: Statement, rows: Rows, written: Written) -> Iterator[tuple[int, int]]:
    """Where each statement starts and ends; a row that no statement can hold is set aside."""
    start, size = 0, 0
    for place, values in enumerate(rows.values):
        length = (len(values) if values.isascii() else len(values.encode())) + 3
        if size and (size + length > statement.max_bytes or place == FIRST_ROWS):
            yield start, place
            start, size = place, 0
        if length > statement.max_row_bytes:
            written.problems[rows.numbers[place]] = Problem(
                None, "row_too_large", f"{length} bytes, more than max_allowed_packet allows"
            )
            start = place + 1
            continue
        size += length
    if size:
        yield start, len(rows.values)


def _check_session(connection: Connection) -> None:
    driver: Any = connection.connection.dbapi_connection
    if not driver.client_flag & FOUND_ROWS:
        raise AssertionError(
            "the connection lacks CLIENT.FOUND_ROWS, which the counts stand on; SQLAlchemy sets it for mysql+pymysql"
        )
    if driver.server_status & SERVER_STATUS_NO_BACKSLASH_ESCAPES:
        raise AssertionError(
            "sql_mode has NO_BACKSLASH_ESCAPES, the literals are escaped with backslashes; take it out"
        )


def _answer(connection: Connection) -> Any:
    """PyMySQL's view of the server's last answer: the text of an INSERT's OK packet is to be had nowhere else."""
    driver: Any = connection.connection.dbapi_connection
    return driver._result


def _check_warnings(connection: Connection) -> None:
    """In strict mode the server still rounds a DECIMAL or cuts spaces with a mere note; no such row may stay."""
    for _, code, message in connection.exec_driver_sql("SHOW WARNINGS LIMIT 64").all():
        if code not in HARMLESS_WARNINGS:
            raise ServerChangedValues(f"the server stored something else than the file says: {message} (MySQL {code})")
