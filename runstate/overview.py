"""The state of everything in a few bounded reads: what the first page of the operators shows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, text

from runstate.active import ActiveRun, active_runs, waiting_starts
from runstate.statuses import ACTIVE, ENDED, RunStatus

LONGEST_ATTEMPT_MIN = 15
"""An attempt counts in the minute in which it ended, and is found by when it started: this much earlier is looked at."""


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
    """What waits and runs, by kind; kinds without any are left out.  Looks at so many runs as `active_runs` does."""
    of_kind: dict[str, list[ActiveRun]] = {}
    for run in active_runs(connection):
        of_kind.setdefault(run.kind, []).append(run)
    starts = waiting_starts(connection)
    found = []
    for kind in sorted(of_kind.keys() | starts.keys()):
        runs = of_kind.get(kind, [])
        oldest = max(
            (run for run in runs if run.due_age_s is not None), key=lambda run: run.due_age_s or 0, default=None
        )
        found.append(
            Waiting(
                kind=kind,
                runs=len(runs),
                starts=starts[kind].count if kind in starts else 0,
                start_age_s=starts[kind].age_s if kind in starts else None,
                open=sum(run.open for run in runs),
                queued=sum(run.queued for run in runs),
                running=sum(run.running for run in runs),
                due_age_s=None if oldest is None else oldest.due_age_s,
                due_run_id=None if oldest is None else oldest.run_id,
            )
        )
    return found


def dead_count(connection: Connection, *, most: int | None = None) -> int:
    """How many dead letters nobody has taken care of; counted up to ``most`` and one, where a page says no more than that."""
    dead = "FROM dead_letters FORCE INDEX (ix_dead_letters_newest) WHERE status = 'dead'"
    if most is None:
        return int(connection.scalar(text(f"SELECT COUNT(*) {dead}")) or 0)
    counted = connection.scalar(text(f"SELECT COUNT(*) FROM (SELECT 1 {dead} LIMIT :most) dead"), {"most": most + 1})
    return int(counted or 0)
