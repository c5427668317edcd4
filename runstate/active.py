"""The active runs, one line each, in bounded reads: what the overview, the queues and the health checks add up.

Nothing here counts the jobs that wait: of a run with a million of them the counters on its row tell, and how many are out is
bounded by its window.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from runstate.statuses import RunStatus

MOST_ACTIVE = 2000
"""Of each status the runs that were requested first: with more than these, sums are of these."""
MOST_COUNTED = 1000
"""Jobs of one run that are due later are counted up to here, where some are due now and some later."""

BY_STATE = "FORCE INDEX (ix_jobs_run_state_due)"
"""Each look at a run's jobs by state.  Left to itself the optimizer takes the primary key for large runs, and reads the run."""


@dataclass(frozen=True, slots=True)
class ActiveRun:
    """One run that is planning or running; times are naive UTC, ages in seconds.

    ``open``        jobs that are planned and not accounted for, those in hand among them, by the run's counters
    ``pending``     jobs that wait in MySQL
    ``due_at``      of the job that is pending or queued and due first; ``last_due_at`` of the one that is pending and due last
    """

    run_id: str
    kind: str
    status: RunStatus
    open: int
    queued: int
    running: int
    pending: int
    due_at: datetime | None
    last_due_at: datetime | None
    moved_age_s: float | None
    seen_at: datetime

    @property
    def due_age_s(self) -> float | None:
        """For how long its oldest job has been due; None where nothing is."""
        if self.due_at is None or self.due_at >= self.seen_at:
            return None
        return (self.seen_at - self.due_at).total_seconds()


def active_runs(connection: Connection) -> list[ActiveRun]:
    """The runs that are planning or running, `MOST_ACTIVE` of each at most."""
    of_each = " UNION ALL ".join(
        "(SELECT run_id, kind, status, heartbeat_at, GREATEST(0, jobs_total - jobs_done - jobs_dead - jobs_cancelled) AS open"
        f" FROM runs FORCE INDEX (ix_runs_status_requested) WHERE status = '{status}' ORDER BY requested_at LIMIT :most)"
        for status in ("planning", "running")
    )
    # The first and the last of the index (run_id, state, due_at): one look each.  A MIN over both states would read them all.
    jobs = f"FROM jobs {BY_STATE} WHERE run_id = r.run_id AND state ="
    rows = connection.execute(
        text(
            f"SELECT r.run_id, r.kind, r.status, r.open, (SELECT COUNT(*) {jobs} 'queued') AS queued,"
            f" (SELECT COUNT(*) {jobs} 'running') AS running,"
            f" (SELECT due_at {jobs} 'pending' ORDER BY due_at LIMIT 1) AS pending_due_at,"
            f" (SELECT due_at {jobs} 'queued' ORDER BY due_at LIMIT 1) AS queued_due_at,"
            f" (SELECT due_at {jobs} 'pending' ORDER BY due_at DESC LIMIT 1) AS last_due_at,"
            " TIMESTAMPDIFF(MICROSECOND, r.heartbeat_at, NOW(6)) / 1e6 AS moved_age_s, NOW(6) AS seen_at"
            f" FROM ({of_each}) r"
        ),
        {"most": MOST_ACTIVE},
    )
    found = []
    for row in rows:
        waits = row.pending_due_at is not None
        # What is planned while planning goes on stands on no counter yet.
        pending = max(int(waits), int(row.open) - int(row.queued) - int(row.running)) if waits else 0
        found.append(
            ActiveRun(
                run_id=row.run_id,
                kind=row.kind,
                status=RunStatus(row.status),
                open=int(row.open),
                queued=int(row.queued),
                running=int(row.running),
                pending=pending,
                due_at=min((at for at in (row.pending_due_at, row.queued_due_at) if at is not None), default=None),
                last_due_at=row.last_due_at,
                moved_age_s=None if row.moved_age_s is None else float(row.moved_age_s),
                seen_at=row.seen_at,
            )
        )
    return found


def later_jobs(connection: Connection, run: ActiveRun) -> int:
    """How many of its pending jobs are due later, counted up to `MOST_COUNTED`, and not at all where one look tells."""
    if run.last_due_at is None or run.last_due_at <= run.seen_at:
        return 0
    counted = connection.scalar(
        text(
            f"SELECT COUNT(*) FROM (SELECT 1 FROM jobs {BY_STATE} WHERE run_id = :run_id AND state = 'pending'"
            " AND due_at > :now LIMIT :most) later"
        ),
        {"run_id": run.run_id, "now": run.seen_at, "most": MOST_COUNTED},
    )
    if int(counted or 0) < MOST_COUNTED:
        return int(counted or 0)
    due = connection.scalar(
        text(
            f"SELECT COUNT(*) FROM (SELECT 1 FROM jobs {BY_STATE} WHERE run_id = :run_id AND state = 'pending'"
            " AND due_at <= :now LIMIT :most) due"
        ),
        {"run_id": run.run_id, "now": run.seen_at, "most": MOST_COUNTED},
    )
    # Fewer are due than can be counted: the rest, all but those, is later.
    return max(MOST_COUNTED, run.pending - int(due)) if int(due or 0) < MOST_COUNTED else MOST_COUNTED


@dataclass(frozen=True, slots=True)
class Starts:
    """Starts of one kind that wait for admission, and for how long the oldest does."""

    count: int
    age_s: float


def waiting_starts(connection: Connection, *, most: int = 10_000) -> dict[str, Starts]:
    """By kind, among the ``most`` that were requested first; those that are for later do not wait."""
    rows = connection.execute(
        text(
            "SELECT kind, COUNT(*) AS starts, TIMESTAMPDIFF(MICROSECOND, MIN(since), NOW(6)) / 1e6 AS age_s FROM"
            " (SELECT kind, COALESCE(not_before, requested_at) AS since FROM runs FORCE INDEX (ix_runs_status_requested)"
            "  WHERE status = 'requested' AND (not_before IS NULL OR not_before <= NOW(6)) ORDER BY requested_at LIMIT :most)"
            " waiting GROUP BY kind"
        ),
        {"most": most},
    )
    return {row.kind: Starts(int(row.starts), float(row.age_s)) for row in rows}
