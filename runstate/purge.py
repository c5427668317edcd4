"""Retention: what ended long ago is forgotten, in batches so small that nobody waits for them.

A run goes in three steps, each of which may be the last before a crash: it is marked (`runs.purged_at`; from then on it cannot be
replayed), its rows are deleted batch by batch, and its own row last.  The next purge goes on with what is marked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, TextClause, bindparam, text

from runstate import alerts
from runstate.old_rows import Aged, OfRuns

BATCH_ROWS = 1000
KEYED_DAYS = 30
"""A run with an idempotency key is kept at least so long, whatever the policy says: its key must stay taken."""

_OF_A_RUN = ("job_attempts", "jobs", "spooled_lists")
_ENDED = "status IN ('completed', 'cancelled', 'refused', 'failed')"
_ACTIVE = "status IN ('requested', 'planning', 'running', 'paused', 'cancelling')"
_UNDECIDED = "status IN ('dead', 'replaying')"
_OLD_RUNS = (
    f"FROM runs r WHERE r.purged_at IS NULL AND r.{_ENDED} AND r.leftovers = 0"
    " AND r.finished_at < NOW(6) - INTERVAL IF(r.status = 'failed', :failed_days, :runs_days) DAY"
    f" AND (r.idempotency_key IS NULL OR r.finished_at < NOW(6) - INTERVAL {KEYED_DAYS} DAY)"
    # A letter that nobody has decided about keeps its run, and so does a replay that is under way.
    f" AND NOT EXISTS (SELECT 1 FROM dead_letters l WHERE l.run_id = r.run_id AND l.{_UNDECIDED})"
    f" AND NOT EXISTS (SELECT 1 FROM runs c WHERE c.parent_run_id = r.run_id AND c.{_ACTIVE})"
)
AGED = (
    Aged(
        "dead_letters",
        "status IN ('replayed', 'discarded') AND resolved_at < NOW(6) - INTERVAL :letters_days DAY",
    ),
    Aged("audit_log", "at < NOW(6) - INTERVAL :audit_days DAY"),
)
"""What goes by its age alone; kinds of job add theirs (`JobKind.old_rows`)."""


@dataclass(frozen=True, slots=True)
class Keep:
    """How many days each kind of row is kept after its end."""

    runs_days: int = 30
    """Runs that completed, were cancelled or refused, with their jobs, attempts and rejects."""
    failed_days: int = 90
    """Runs that failed, likewise."""
    letters_days: int = 90
    """Dead letters that were replayed or discarded.  One that nobody has decided about is kept."""
    audit_days: int = 365

    def values(self) -> dict[str, int]:
        """As parameters of a statement."""
        return {
            "runs_days": self.runs_days,
            "failed_days": self.failed_days,
            "letters_days": self.letters_days,
            "audit_days": self.audit_days,
        }


def count_old(connection: Connection, keep: Keep, aged: Sequence[Aged] = AGED) -> dict[str, int]:
    """How much a purge would forget now, by table (for a dry run)."""
    days = keep.values()
    found = {"runs": int(connection.scalar(text(f"SELECT COUNT(*) {_OLD_RUNS}"), days) or 0)}
    for table in ("jobs", "job_attempts"):
        found[table] = count_of_old_runs(connection, keep, OfRuns(table))
    return found | {one.table: one.count(connection, days) for one in aged}


def count_of_old_runs(connection: Connection, keep: Keep, rows: OfRuns, kind: str | None = None) -> int:
    """How many rows of one table the runs have that a purge would forget now; ``kind``: those of this kind."""
    query = (
        f"SELECT COUNT(*) FROM {rows.table} t JOIN (SELECT r.run_id, r.kind {_OLD_RUNS}) o ON o.run_id = t.{rows.column}"
        " WHERE :kind IS NULL OR o.kind = :kind"
    )
    return int(connection.scalar(text(query), keep.values() | {"kind": kind}) or 0)


def marked_runs(connection: Connection, most: int) -> dict[str, str]:
    """Runs whose forgetting has begun, each with its kind."""
    rows = connection.execute(
        text("SELECT run_id, kind FROM runs WHERE purged_at IS NOT NULL LIMIT :most"), {"most": most}
    )
    return {row.run_id: row.kind for row in rows}


def old_runs(connection: Connection, keep: Keep, most: int) -> dict[str, str]:
    """Runs to forget, the oldest first, each with its kind."""
    rows = connection.execute(
        text(f"SELECT r.run_id, r.kind {_OLD_RUNS} ORDER BY r.finished_at LIMIT :most"), keep.values() | {"most": most}
    )
    return {row.run_id: row.kind for row in rows}


def mark(connection: Connection, run_ids: Sequence[str]) -> list[str]:
    """Mark runs as being forgotten; those where something came in between (a replay, for example) are left out.

    Their rows are locked first and their children looked at afterwards: a replay locks the same row before it is written.
    """
    locked = connection.execute(
        _these(
            f"SELECT run_id FROM runs WHERE run_id IN :run_ids AND {_ENDED} AND leftovers = 0 ORDER BY run_id FOR UPDATE"
        ),
        {"run_ids": list(run_ids)},
    ).scalars()
    found = list(locked)
    needed = set(
        connection.execute(
            _these(
                f"SELECT parent_run_id FROM runs WHERE parent_run_id IN :run_ids AND {_ACTIVE}"
                f" UNION SELECT run_id FROM dead_letters WHERE run_id IN :run_ids AND {_UNDECIDED}"
            ),
            {"run_ids": found or [""]},
        ).scalars()
    )
    free = [run_id for run_id in found if run_id not in needed]
    if free:
        connection.execute(
            _these("UPDATE runs SET purged_at = NOW(6) WHERE run_id IN :run_ids AND purged_at IS NULL"),
            {"run_ids": free},
        )
    return free


def forget_rows(connection: Connection, run_ids: Sequence[str], most: int = BATCH_ROWS) -> int:
    """Delete up to ``most`` rows of marked runs from one table; 0 when none is left."""
    for table in _OF_A_RUN:
        gone = connection.execute(
            _these(f"DELETE FROM {table} WHERE run_id IN :run_ids LIMIT :most"),
            {"run_ids": list(run_ids), "most": most},
        ).rowcount
        if gone:
            return gone
    return 0


def forget_runs(connection: Connection, run_ids: Sequence[str]) -> int:
    """Delete marked runs' own rows, the last of them."""
    return connection.execute(
        _these("DELETE FROM runs WHERE run_id IN :run_ids AND purged_at IS NOT NULL"), {"run_ids": list(run_ids)}
    ).rowcount


def _these(statement: str) -> TextClause:
    return text(statement).bindparams(bindparam("run_ids", expanding=True))


def forget_notices(connection: Connection, keep: Keep, most: int = BATCH_ROWS) -> int:
    """Delete up to ``most`` notices of alerts that are as old as the audit log may become."""
    return alerts.forget_notices(connection, keep.audit_days, most)
