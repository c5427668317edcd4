"""What operators see of an import: its rows, and of the rejects how many, why, and the first of them."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from tasks.imports.rejects import import_rejects
from tasks.report import Figure, Report, RunSeen, Table

COUNTED = 10_000
"""Counting by reason stops here: a file with the wrong columns has a reject for each of its rows."""
FIRST = 10
_RAW_CHARS = 200


def import_report(connection: Connection, seen: RunSeen) -> Report:
    """Rows by what became of them; rejects by code, the first ones, and how to have them corrected."""
    codes = _by_code(connection, seen.run_id)
    counted = sum(count for _, _, count in codes)
    rejected = seen.totals.get("rejected", counted)
    figures = [
        *seen.figures("rows", "inserted", "updated", "unchanged", "superseded"),
        Figure("rejected", rejected, "bad" if rejected else "good"),
    ]
    if not codes:
        return Report("Rows", figures)
    note = f"counted in the first {COUNTED:,}" if counted >= COUNTED else ""
    return Report(
        "Rows",
        figures,
        [
            Table("Rejects by reason", ("Code", "Column", "Rejects>"), codes, note),
            Table(
                "The first rejects",
                ("Line>", "Column", "Code", "Reason", "Row"),
                _first(connection, seen.run_id, str(seen.args.get("encoding", "utf-8"))),
                f"the first {FIRST} of {rejected:,}" if rejected > FIRST else "",
            ),
        ],
        [
            f"All of them, to be corrected: `python -m ops rejects export {seen.run_id} --out rejects.csv`",
            f"Then: `python -m ops rejects replay {seen.run_id} --file rejects.csv`, which imports the corrected rows alone",
        ],
    )


def _by_code(connection: Connection, run_id: str) -> list[tuple[str, str, int]]:
    table = import_rejects.c
    some = select(table.code, table.column_name).where(table.run_id == run_id).limit(COUNTED).subquery()
    count = func.count()
    query = select(some.c.code, some.c.column_name, count).group_by(some.c.code, some.c.column_name)
    return [
        (row[0], row[1] or "", int(row[2])) for row in connection.execute(query.order_by(count.desc(), some.c.code))
    ]


def _first(connection: Connection, run_id: str, encoding: str) -> list[tuple[int, str, str, str, str]]:
    table = import_rejects.c
    query = (
        select(table.line_no, table.column_name, table.code, table.reason, func.left(table.raw, _RAW_CHARS))
        .where(table.run_id == run_id)
        .order_by(table.job_no, table.line_no)
        .limit(FIRST)
    )
    return [
        (line, column or "", code, reason, raw.decode(encoding, errors="backslashreplace"))
        for line, column, code, reason, raw in connection.execute(query)
    ]
