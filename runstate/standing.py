"""How a run's jobs stand: what `explain` needs to say why it does not move."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, text

from runstate.statuses import JobState


@dataclass(frozen=True, slots=True)
class InHand:
    """A job in a worker's hands."""

    job_no: int
    worker: str
    held_s: float
    lease_left_s: float


@dataclass(frozen=True, slots=True)
class Standing:
    """The jobs of one run, by state, with what is next and what went wrong last."""

    by_state: dict[JobState, int]
    in_hand: list[InHand]
    next_due_at: datetime | None
    due_now: int
    last_error: str | None
    last_error_job: int | None


def standing(connection: Connection, run_id: str, *, most_in_hand: int = 10) -> Standing:
    """Read the standing of a run's jobs."""
    key = {"run_id": run_id}
    by_state = connection.execute(
        text("SELECT state, COUNT(*) AS count FROM jobs WHERE run_id = :run_id GROUP BY state"), key
    )
    counts = {JobState(row.state): int(row[1]) for row in by_state}
    in_hand = connection.execute(
        text(
            "SELECT job_no, worker, TIMESTAMPDIFF(MICROSECOND, claimed_at, NOW(6)) / 1e6 AS held_s,"
            " TIMESTAMPDIFF(MICROSECOND, NOW(6), lease_until) / 1e6 AS lease_left_s FROM jobs"
            " WHERE run_id = :run_id AND state = 'running' ORDER BY claimed_at LIMIT :most"
        ),
        key | {"most": most_in_hand},
    )
    held = [InHand(row.job_no, row.worker, float(row.held_s), float(row.lease_left_s)) for row in in_hand]
    due = connection.execute(
        text(
            "SELECT MIN(due_at) AS next_due_at, COALESCE(SUM(due_at <= NOW(6)), 0) AS due_now FROM jobs"
            " WHERE run_id = :run_id AND state = 'pending'"
        ),
        key,
    ).one()
    error = connection.execute(
        text(
            "SELECT job_no, error FROM job_attempts WHERE run_id = :run_id AND error IS NOT NULL"
            " ORDER BY started_at DESC LIMIT 1"
        ),
        key,
    ).one_or_none()
    return Standing(
        counts,
        held,
        due.next_due_at,
        int(due.due_now),
        None if error is None else error.error,
        None if error is None else error.job_no,
    )


def due_ahead(connection: Connection, run_id: str, kinds: list[str]) -> int:
    """Jobs of other runs on the same queue that are out or due and wait to be claimed."""
    return int(
        connection.scalar(
            text(
                "SELECT COUNT(*) FROM runs r JOIN jobs j ON j.run_id = r.run_id AND j.state IN ('queued', 'pending')"
                " AND j.due_at <= NOW(6) WHERE r.status IN ('planning', 'running') AND r.kind IN :kinds"
                " AND r.run_id <> :run_id"
            ).bindparams(bindparam("kinds", expanding=True)),
            {"run_id": run_id, "kinds": kinds},
        )
        or 0
    )
