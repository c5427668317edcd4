"""One run as its page shows it, in bounded reads however many jobs it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from runstate.active import BY_STATE

_ATTEMPTS = "job_attempts FORCE INDEX (ix_job_attempts_run) WHERE run_id = :run_id AND outcome ="
_JOBS = f"jobs {BY_STATE} WHERE run_id = :run_id AND state ="
PACE_S = 60
"""A run's pace is what it got done in so many seconds."""
NOT_DONE = ("retry", "dead", "crashed", "lost", "snooze", "stopped", "cancelled", "recovered")
"""How an attempt can end otherwise: the endings of `runstate.outcomes`, and a claim that a recovery voided."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a job."""

    job_no: int
    claim_no: int
    worker: str | None
    started_at: datetime | None
    duration_ms: int | None
    peak_memory_kb: int | None
    outcome: str
    error_class: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Pulse:
    """What moves while a run runs.  ``out`` and ``in_hand`` are bounded by its window; the pace is in jobs a second."""

    out: int
    in_hand: int
    next_due_at: datetime | None
    jobs_per_s: float | None


def pulse(connection: Connection, run_id: str) -> Pulse:
    """Read the pulse of a run."""
    row = connection.execute(
        text(
            f"SELECT (SELECT COUNT(*) FROM {_JOBS} 'queued') AS out_, (SELECT COUNT(*) FROM {_JOBS} 'running') AS in_hand,"
            f" (SELECT due_at FROM {_JOBS} 'pending' ORDER BY due_at LIMIT 1) AS next_due_at,"
            f" (SELECT COUNT(*) FROM {_ATTEMPTS} 'done'"
            # Not the planning: it is no job that a pace could be told by.
            "   AND started_at > NOW(6) - INTERVAL :pace_s SECOND AND job_no > 0) AS lately,"
            " (SELECT TIMESTAMPDIFF(MICROSECOND, started_at, NOW(6)) / 1e6 FROM runs WHERE run_id = :run_id) AS age_s"
        ),
        {"run_id": run_id, "pace_s": PACE_S},
    ).one()
    seconds = min(float(row.age_s or 0.0), PACE_S)
    return Pulse(
        int(row.out_),
        int(row.in_hand),
        row.next_due_at,
        int(row.lately) / seconds if seconds >= 1 and row.lately else None,
    )


def attempts_page(connection: Connection, run_id: str, *, failed: bool = False, most: int = 100) -> list[Attempt]:
    """The run's newest attempts; with ``failed`` the newest of those that did not end done."""
    # The index has (run_id, outcome, started_at): a look for each way to end, instead of all attempts of the run.
    ways = NOT_DONE if failed else ("done", *NOT_DONE)
    newest = "ORDER BY started_at DESC LIMIT :most"
    of_each = " UNION ALL ".join(
        "(SELECT job_no, claim_no, worker, started_at, duration_ms, peak_memory_kb, outcome, error_class, LEFT(error, 600)"
        f" AS error FROM {_ATTEMPTS} '{way}' {newest})"
        for way in ways
    )
    rows = connection.execute(text(f"{of_each} {newest}"), {"run_id": run_id, "most": most}).mappings()
    return [Attempt(**row) for row in rows]


def outcome_counts(connection: Connection, run_id: str, *, most: int = 10_000) -> dict[str, int]:
    """How many attempts ended in each way but done; counting stops at ``most`` attempts for each."""
    row = connection.execute(
        text(
            "SELECT "
            + ", ".join(
                f"(SELECT COUNT(*) FROM (SELECT 1 FROM {_ATTEMPTS} '{way}' LIMIT :most) x) AS `{way}`"
                for way in NOT_DONE
            )
        ),
        {"run_id": run_id, "most": most},
    ).one()
    return {way: int(getattr(row, way)) for way in NOT_DONE if getattr(row, way)}


def children(connection: Connection, run_id: str, *, most: int = 10) -> list[Mapping[str, Any]]:
    """Runs that replay this one, the newest first."""
    rows = connection.execute(
        text(
            "SELECT run_id, status, requested_at FROM runs WHERE parent_run_id = :run_id ORDER BY requested_at DESC LIMIT :most"
        ),
        {"run_id": run_id, "most": most},
    ).mappings()
    return [{str(name): value for name, value in row.items()} for row in rows]


def attempts_of_job(connection: Connection, run_id: str, job_no: int, *, most: int = 50) -> list[Attempt]:
    """The newest attempts of one job."""
    rows = connection.execute(
        text(
            "SELECT job_no, claim_no, worker, started_at, duration_ms, peak_memory_kb, outcome, error_class,"
            " LEFT(error, 600) AS error FROM job_attempts WHERE run_id = :run_id AND job_no = :job_no"
            " ORDER BY claim_no DESC LIMIT :most"
        ),
        {"run_id": run_id, "job_no": job_no, "most": most},
    ).mappings()
    return [Attempt(**row) for row in rows]
