"""Who has a run's jobs in hand now."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class Hand:
    """A job that a worker has claimed; ``held_s`` since then, ``lease_s`` until the claim is lost, negative once it is."""

    job_no: int
    worker: str | None
    held_s: float | None
    lease_s: float | None
    attempts: int


def hands(connection: Connection, run_id: str, *, most: int = 20) -> list[Hand]:
    """The jobs in workers' hands; there are no more of them than the run's window."""
    rows = connection.execute(
        text(
            "SELECT job_no, worker, TIMESTAMPDIFF(MICROSECOND, claimed_at, NOW(6)) / 1e6 AS held_s,"
            " TIMESTAMPDIFF(MICROSECOND, NOW(6), lease_until) / 1e6 AS lease_s, attempts"
            " FROM jobs FORCE INDEX (ix_jobs_run_state_due) WHERE run_id = :run_id AND state = 'running' LIMIT :most"
        ),
        {"run_id": run_id, "most": most},
    )
    found = [
        Hand(
            row.job_no,
            row.worker,
            None if row.held_s is None else float(row.held_s),
            None if row.lease_s is None else float(row.lease_s),
            int(row.attempts),
        )
        for row in rows
    ]
    return sorted(found, key=lambda hand: -(hand.held_s or 0.0))
