"""How many jobs of a run stand where, in bounded reads: counted where they are few, from the run's counters where they are many."""

from __future__ import annotations

from sqlalchemy import Connection, text

from runstate.active import BY_STATE
from runstate.statuses import JobState, Role

COUNTED = 5000
"""A run of up to so many jobs is counted and summed up job by job."""


def is_large(connection: Connection, run_id: str) -> bool:
    """Whether a run has more than `COUNTED` jobs."""
    # Not by its counter, which says nothing before the planning has ended.
    last = connection.scalar(text("SELECT MAX(job_no) FROM jobs WHERE run_id = :run_id"), {"run_id": run_id})
    return int(last or 0) > COUNTED


def job_states(connection: Connection, run_id: str) -> dict[str, dict[str, int]]:
    """Role → state → count; of a large run the jobs that do the work alone."""
    if is_large(connection, run_id):
        return {Role.WORK.value: {state.value: count for state, count in _by_counters(connection, run_id).items()}}
    counts: dict[str, dict[str, int]] = {}
    rows = connection.execute(
        text("SELECT role, state, COUNT(*) AS jobs FROM jobs WHERE run_id = :run_id GROUP BY role, state"),
        {"run_id": run_id},
    )
    for row in rows:
        counts.setdefault(row.role, {})[row.state] = int(row.jobs)
    return counts


def _by_counters(connection: Connection, run_id: str) -> dict[JobState, int]:
    jobs = f"(SELECT COUNT(*) FROM jobs {BY_STATE} WHERE run_id = r.run_id AND state ="
    row = connection.execute(
        text(
            # What is out and in hand is bounded by the window: these two are counted.
            f"SELECT IF(status = 'planning', (SELECT MAX(job_no) FROM jobs WHERE run_id = :run_id), jobs_total) AS total,"
            f" jobs_done, jobs_dead, jobs_cancelled, {jobs} 'queued') AS queued, {jobs} 'running') AS running"
            " FROM runs r WHERE run_id = :run_id"
        ),
        {"run_id": run_id},
    ).one()
    counts = {
        JobState.DONE: int(row.jobs_done),
        JobState.DEAD: int(row.jobs_dead),
        JobState.CANCELLED: int(row.jobs_cancelled),
        JobState.QUEUED: int(row.queued),
        JobState.RUNNING: int(row.running),
    }
    counts[JobState.PENDING] = max(0, int(row.total) - sum(counts.values()))
    return {state: count for state, count in counts.items() if count}
