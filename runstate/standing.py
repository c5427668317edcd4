"""How a run's jobs stand: what `explain` needs to say why it does not move."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, text

from runstate.active import BY_STATE
from runstate.job_states import job_states
from runstate.run_page import attempts_page
from runstate.statuses import JobState

MOST_AHEAD = 10_000
"""Jobs of other runs are counted up to here."""
LOOKED_AT = 20
"""The last error is looked for in so many attempts that did not end done: a snooze has none."""


@dataclass(frozen=True, slots=True)
class InHand:
    """A job in a worker's hands."""

    job_no: int
    worker: str
    held_s: float
    lease_left_s: float


@dataclass(frozen=True, slots=True)
class Standing:
    """The jobs of one run, by state, with what is next, whether that is due, and what went wrong last."""

    by_state: dict[JobState, int]
    in_hand: list[InHand]
    next_due_at: datetime | None
    due_now: bool
    last_error: str | None
    last_error_job: int | None


def standing(connection: Connection, run_id: str, *, most_in_hand: int = 10) -> Standing:
    """Read the standing of a run's jobs."""
    key = {"run_id": run_id}
    counts: dict[JobState, int] = {}
    for states in job_states(connection, run_id).values():
        for state, count in states.items():
            counts[JobState(state)] = counts.get(JobState(state), 0) + count
    in_hand = connection.execute(
        text(
            "SELECT job_no, worker, TIMESTAMPDIFF(MICROSECOND, claimed_at, NOW(6)) / 1e6 AS held_s,"
            f" TIMESTAMPDIFF(MICROSECOND, NOW(6), lease_until) / 1e6 AS lease_left_s FROM jobs {BY_STATE}"
            " WHERE run_id = :run_id AND state = 'running' ORDER BY claimed_at LIMIT :most"
        ),
        key | {"most": most_in_hand},
    )
    held = [InHand(row.job_no, row.worker, float(row.held_s), float(row.lease_left_s)) for row in in_hand]
    due = connection.execute(
        text(
            f"SELECT due_at, due_at <= NOW(6) AS due_now FROM jobs {BY_STATE}"
            " WHERE run_id = :run_id AND state = 'pending' ORDER BY due_at LIMIT 1"
        ),
        key,
    ).one_or_none()
    error = next(
        (attempt for attempt in attempts_page(connection, run_id, failed=True, most=LOOKED_AT) if attempt.error), None
    )
    return Standing(
        counts,
        held,
        None if due is None else due.due_at,
        due is not None and bool(due.due_now),
        None if error is None else error.error,
        None if error is None else error.job_no,
    )


def due_ahead(connection: Connection, run_id: str, kinds: list[str]) -> int:
    """Jobs of other runs on the same queue that are out or due and wait to be claimed, `MOST_AHEAD` at most."""
    return int(
        connection.scalar(
            text(
                f"SELECT COUNT(*) FROM (SELECT STRAIGHT_JOIN 1 FROM runs r JOIN jobs j {BY_STATE} ON j.run_id = r.run_id"
                " AND j.state IN ('queued', 'pending') AND j.due_at <= NOW(6) WHERE r.status IN ('planning', 'running')"
                " AND r.kind IN :kinds AND r.run_id <> :run_id LIMIT :most) ahead"
            ).bindparams(bindparam("kinds", expanding=True)),
            {"run_id": run_id, "kinds": kinds, "most": MOST_AHEAD},
        )
        or 0
    )
