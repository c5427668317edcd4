"""Lists as pages show them: a bounded number of rows from a place on, backed by an index however long the table is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.sql.elements import TextClause

from runstate import documents, letters
from runstate.letters import Filter
from runstate.run_order import Order, Place, RunFilter, ids_of_page, sorted_by
from runstate.statuses import RunStatus

SEARCHED = 10_000
"""A text is looked for in this many runs, the first in the order of the list: no index finds the middle of a text."""
_SAFE_ID = re.compile(r"[0-9a-f]{4}[0-9a-f-]{0,32}\Z")
_RUN_COLUMNS = (
    "run_id, kind, admission_key, status, jobs_total, jobs_done, jobs_dead, jobs_cancelled, runs.requested_at, requested_by,"
    " started_at, runs.finished_at, reason, TIMESTAMPDIFF(MICROSECOND, heartbeat_at, NOW(6)) / 1e6 AS heartbeat_age_s,"
    " TIMESTAMPDIFF(MICROSECOND, started_at, COALESCE(runs.finished_at, NOW(6))) / 1e6 AS took_s"
)


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as the list shows it; times are naive UTC, ages and durations in seconds."""

    run_id: str
    kind: str
    admission_key: str | None
    status: RunStatus
    jobs_total: int
    jobs_done: int
    jobs_dead: int
    jobs_cancelled: int
    requested_at: datetime
    requested_by: str
    started_at: datetime | None
    finished_at: datetime | None
    reason: str | None
    heartbeat_age_s: float | None
    took_s: float | None


def runs_page(
    connection: Connection, which: RunFilter, *, order: Order = "newest", after: Place | None = None, most: int = 50
) -> list[RunRow]:
    """A page of runs, ``most`` at most."""
    # The ids first, out of an index: a run's row is long, and most of those that are passed over are not shown.
    ids, values = ids_of_page(which, order, after, _kinds(connection), SEARCHED if which.words else most)
    narrowed = ""
    if which.words:
        narrowed = (
            "WHERE (run_id LIKE :start OR admission_key LIKE :part OR reason LIKE :part OR requested_by LIKE :part)"
        )
        values |= {"part": f"%{_literally(which.words)}%", "start": f"{_literally(which.words)}%"}
    statement = (
        f"SELECT {_RUN_COLUMNS} FROM runs JOIN ({ids}) page USING (run_id) {narrowed} {sorted_by(order, 'runs.')}"
        " LIMIT :most"
    )
    rows = connection.execute(_expanding(statement, values), values | {"most": most}).mappings().all()
    found = [_as_row(row) for row in rows]
    if which.words and after is None and _SAFE_ID.match(which.words) and len(found) < most:
        found += _by_id(connection, which.words, {row.run_id for row in found}, most - len(found))
    return found


def _kinds(connection: Connection) -> list[str]:
    """Every kind that there are runs of, those that nobody knows any more among them: a jump from one to the next."""
    return [str(kind) for kind in connection.scalars(text("SELECT DISTINCT kind FROM runs"))]


def _by_id(connection: Connection, start: str, known: set[str], most: int) -> list[RunRow]:
    """Runs by the beginning of their id, however old: the primary key finds them."""
    rows = connection.execute(
        text(f"SELECT {_RUN_COLUMNS} FROM runs WHERE run_id LIKE :start ORDER BY run_id LIMIT :most"),
        {"start": f"{start}%", "most": most + len(known)},
    ).mappings()
    return [_as_row(row) for row in rows if row["run_id"] not in known][:most]


def _as_row(row: Mapping[Any, Any]) -> RunRow:
    values = {str(name): value for name, value in row.items()}
    for name in ("heartbeat_age_s", "took_s"):
        values[name] = None if values[name] is None else float(values[name])
    return RunRow(**values | {"status": RunStatus(values["status"])})


def _literally(words: str) -> str:
    return re.sub(r"([\\%_])", r"\\\1", words)


def _expanding(statement: str, values: Mapping[str, Any]) -> TextClause:
    made = text(statement)
    for name, value in values.items():
        if isinstance(value, list):
            made = made.bindparams(bindparam(name, expanding=True))
    return made


@dataclass(frozen=True, slots=True)
class LetterRow:
    """A dead letter as the list shows it, without its payload and traceback."""

    id: int
    run_id: str
    job_no: int
    kind: str
    error_class: str
    error: str
    attempts: int
    fingerprint: str
    status: str
    created_at: datetime
    edited: bool
    resolved_by: str | None
    replay_run_id: str | None


def letters_page(connection: Connection, which: Filter, *, before_id: int | None, most: int = 50) -> list[LetterRow]:
    """A page of letters, the newest first."""
    where, values = which.where()
    if before_id is not None:
        where += " AND id < :before_id"
        values["before_id"] = before_id
    rows = connection.execute(
        _expanding(
            "SELECT id, run_id, job_no, kind, error_class, LEFT(error, 400) AS error, attempts, fingerprint, status,"
            " created_at, edited_payload IS NOT NULL AS edited, resolved_by, replay_run_id"
            " FROM dead_letters JOIN"
            f" (SELECT id FROM dead_letters{which.page_index()} WHERE {where} ORDER BY id DESC LIMIT :most) page USING (id)"
            " ORDER BY id DESC",
            values,
        ),
        values | {"most": most},
    ).mappings()
    return [LetterRow(**{**row, "edited": bool(row["edited"])}) for row in rows]


@dataclass(frozen=True, slots=True)
class LetterGroup:
    """Letters of one trouble: how many, the newest of them for an example, when the first and the last came."""

    kind: str
    fingerprint: str
    count: int
    error_class: str
    example: str
    first_at: datetime
    last_at: datetime


def letter_groups(connection: Connection, which: Filter, *, most: int = 100) -> list[LetterGroup]:
    """The most frequent troubles first."""
    return [
        LetterGroup(g.kind, g.fingerprint, g.count, g.error_class, g.example, g.first_failed_at, g.last_failed_at)
        for g in letters.groups(connection, which, most=most)
    ]


@dataclass(frozen=True, slots=True)
class Spread:
    """Over how many runs letters are spread: how many, of how many runs, and the runs with the most of them."""

    letters: int
    runs: int
    most: list[tuple[str, int]]


def letters_by_run(connection: Connection, which: Filter, *, most: int = 10) -> Spread:
    """What a replay or a discard of all that match would take."""
    where, values = which.where()
    # Of all letters, the index that is in the order of the runs; counted once: the windows are over the groups, before the limit.
    narrowed = which.ids or which.kind or which.fingerprint or which.error_class
    index = which.index() if narrowed else " FORCE INDEX (ix_dead_letters_run)"
    rows = connection.execute(
        _expanding(
            "SELECT run_id, COUNT(*) AS letters, COUNT(*) OVER () AS runs, SUM(COUNT(*)) OVER () AS total"
            f" FROM dead_letters{index} WHERE {where} GROUP BY run_id ORDER BY letters DESC, run_id LIMIT :most",
            values,
        ),
        values | {"most": most},
    ).all()
    if not rows:
        return Spread(0, 0, [])
    return Spread(int(rows[0].total), int(rows[0].runs), [(row.run_id, int(row.letters)) for row in rows])


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One entry of the audit log."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    reason: str
    before: Any
    after: Any


def audit_page(
    connection: Connection,
    *,
    subject: str | None = None,
    actor: str | None = None,
    action: str | None = None,
    before_id: int | None = None,
    most: int = 50,
) -> list[AuditRow]:
    """A page of the audit log, the newest first."""
    given = {"subject": subject, "actor": actor, "action": action}
    wanted = [f"{name} = :{name}" for name, value in given.items() if value]
    if before_id is not None:
        wanted.append("id < :before_id")
    rows = connection.execute(
        text(
            "SELECT id, at, actor, action, subject, reason, LEFT(before_state, 20000) AS b, LEFT(after_state, 20000) AS a"
            f" FROM audit_log WHERE {' AND '.join(wanted) or '1 = 1'} ORDER BY id DESC LIMIT :most"
        ),
        given | {"before_id": before_id, "most": most},
    )
    return [AuditRow(r.id, r.at, r.actor, r.action, r.subject, r.reason, _document(r.b), _document(r.a)) for r in rows]


def _document(stored: str | None) -> Any:
    try:
        return documents.load(stored)
    except ValueError:
        return f"{(stored or '')[:2000]} … (cut)"
