"""The state of everything in a few bounded reads: what the first page of the operators shows.

Nothing here counts jobs that wait: of a run with a million of them the counters on its row tell, and how many are out is
bounded by its window.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, text

from runstate.statuses import ACTIVE, ENDED, RunStatus

LONGEST_ATTEMPT_MIN = 15
"""An attempt counts in the minute in which it ended, and is found by when it started: this much earlier is looked at."""
MOST_ACTIVE = 2000


@dataclass(frozen=True, slots=True)
class Minute:
    """What ended in one minute: ``at`` its beginning; attempts that ended done, that failed (to be retried), that died."""

    at: datetime
    done: int
    failed: int
    dead: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits and runs of one kind; ages in seconds, None where nothing is due.

    ``open``  jobs that are planned and not accounted for, those in hand among them; ``starts`` wait for admission
    """

    kind: str
    runs: int
    starts: int
    start_age_s: float | None
    open: int
    queued: int
    running: int
    due_age_s: float | None
    due_run_id: str | None


def status_counts(connection: Connection) -> dict[RunStatus, int]:
    """How many runs stand where now; of those that have ended, the ones requested within 24 hours."""
    statement = (
        "SELECT status, COUNT(*) AS runs FROM runs WHERE status IN :live GROUP BY status"
        " UNION ALL SELECT status, COUNT(*) FROM runs WHERE status IN :ended AND requested_at >= NOW(6) - INTERVAL 24 HOUR"
        " GROUP BY status"
    )
    rows = connection.execute(
        text(statement).bindparams(bindparam("live", expanding=True), bindparam("ended", expanding=True)),
        {"live": ["requested", *(s.value for s in ACTIVE)], "ended": [s.value for s in ENDED]},
    )
    found = {RunStatus(row.status): int(row.runs) for row in rows}
    return {status: found.get(status, 0) for status in RunStatus}


def minutes(connection: Connection, most: int = 60) -> list[Minute]:
    """What ended in each of the last ``most`` minutes, the oldest first, the current one last."""
    now: datetime = connection.execute(text("SELECT NOW(6)")).scalar_one()
    # Whole minutes, so that a bar does not change once its minute is over.
    whole = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
    rows = connection.execute(
        text(
            "SELECT TIMESTAMPDIFF(MINUTE, ended_at, :whole) AS ago, SUM(outcome = 'done') AS done,"
            " SUM(outcome IN ('retry', 'crashed', 'lost')) AS failed, SUM(outcome = 'dead') AS dead"
            " FROM (SELECT outcome, started_at + INTERVAL COALESCE(duration_ms, 0) * 1000 MICROSECOND AS ended_at"
            "  FROM job_attempts WHERE started_at >= :whole - INTERVAL :back MINUTE) attempts"
            " WHERE ended_at < :whole GROUP BY ago"
        ),
        {"whole": whole, "back": most + LONGEST_ATTEMPT_MIN},
    )
    found = {int(row.ago): row for row in rows}
    made = []
    for ago in range(most - 1, -1, -1):
        row = found.get(ago)
        at = whole - timedelta(minutes=ago + 1)
        made.append(
            Minute(at, int(row.done), int(row.failed), int(row.dead)) if row is not None else Minute(at, 0, 0, 0)
        )
    return made


def waiting(connection: Connection) -> list[Waiting]:
    """What waits and runs, by kind; kinds without any are left out.  Looks at `MOST_ACTIVE` active runs at most."""
    rows = connection.execute(
        text(
            "SELECT r.kind, COUNT(*) AS runs,"
            " SUM(GREATEST(0, r.jobs_total - r.jobs_done - r.jobs_dead - r.jobs_cancelled)) AS open,"
            " SUM((SELECT COUNT(*) FROM jobs j FORCE INDEX (ix_jobs_run_state_due)"
            "   WHERE j.run_id = r.run_id AND j.state = 'queued')) AS queued,"
            " SUM((SELECT COUNT(*) FROM jobs j FORCE INDEX (ix_jobs_run_state_due)"
            "   WHERE j.run_id = r.run_id AND j.state = 'running')) AS running"
            " FROM (SELECT run_id, kind, jobs_total, jobs_done, jobs_dead, jobs_cancelled FROM runs"
            "  WHERE status IN ('planning', 'running') LIMIT :most) r GROUP BY r.kind"
        ),
        {"most": MOST_ACTIVE},
    )
    found = {row.kind: row for row in rows}
    starts = {
        row.kind: row
        for row in connection.execute(
            text(
                "SELECT kind, COUNT(*) AS starts,"
                " TIMESTAMPDIFF(MICROSECOND, MIN(COALESCE(not_before, requested_at)), NOW(6)) / 1e6 AS age_s FROM runs"
                " WHERE status = 'requested' AND (not_before IS NULL OR not_before <= NOW(6)) GROUP BY kind"
            )
        )
    }
    due = _oldest_due(connection)
    return [
        Waiting(
            kind=kind,
            runs=int(found[kind].runs) if kind in found else 0,
            starts=int(starts[kind].starts) if kind in starts else 0,
            start_age_s=float(starts[kind].age_s) if kind in starts else None,
            open=int(found[kind].open) if kind in found else 0,
            queued=int(found[kind].queued) if kind in found else 0,
            running=int(found[kind].running) if kind in found else 0,
            due_age_s=due[kind][0] if kind in due else None,
            due_run_id=due[kind][1] if kind in due else None,
        )
        for kind in sorted(found.keys() | starts.keys())
    ]


def _oldest_due(connection: Connection) -> dict[str, tuple[float, str]]:
    """By kind, the age of the job that has been due for longest and the run it belongs to."""
    rows = connection.execute(
        text(
            # The first of the index (run_id, state, due_at): one look for each run and state.  A MIN would read them all.
            "SELECT r.kind, r.run_id, TIMESTAMPDIFF(MICROSECOND, LEAST("
            " COALESCE((SELECT due_at FROM jobs FORCE INDEX (ix_jobs_run_state_due)"
            "   WHERE run_id = r.run_id AND state = 'pending' ORDER BY due_at LIMIT 1), NOW(6)),"
            " COALESCE((SELECT due_at FROM jobs FORCE INDEX (ix_jobs_run_state_due)"
            "   WHERE run_id = r.run_id AND state = 'queued' ORDER BY due_at LIMIT 1), NOW(6))), NOW(6)) / 1e6 AS age_s"
            " FROM (SELECT run_id, kind FROM runs WHERE status IN ('planning', 'running') LIMIT :most) r"
        ),
        {"most": MOST_ACTIVE},
    )
    oldest: dict[str, tuple[float, str]] = {}
    for row in rows:
        age_s = float(row.age_s)
        if age_s > 0 and age_s > oldest.get(row.kind, (0.0, ""))[0]:
            oldest[row.kind] = (age_s, row.run_id)
    return oldest


def dead_count(connection: Connection) -> int:
    """How many dead letters nobody has taken care of."""
    return int(connection.scalar(text("SELECT COUNT(*) FROM dead_letters WHERE status = 'dead'")) or 0)
