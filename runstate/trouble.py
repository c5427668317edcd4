"""What is going wrong, as the tables tell it: failures, letters, runs that stand still.  Bounded reads."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class Tried:
    """How the attempts of one kind ended lately: ``failed`` counts retries, dead letters and crashes."""

    kind: str
    attempts: int
    failed: int


def tried_lately(connection: Connection, window_s: float) -> list[Tried]:
    """The attempts that began within the window, by kind."""
    rows = connection.execute(
        text(
            "SELECT r.kind, SUM(a.n) AS attempts, SUM(a.failed) AS failed FROM"
            " (SELECT run_id, COUNT(*) AS n, SUM(outcome IN ('retry', 'dead', 'crashed')) AS failed FROM job_attempts"
            "  WHERE started_at >= NOW(6) - INTERVAL :window_s SECOND"
            "  AND outcome IN ('done', 'retry', 'dead', 'crashed') GROUP BY run_id) a"
            " JOIN runs r ON r.run_id = a.run_id GROUP BY r.kind ORDER BY r.kind"
        ),
        {"window_s": int(window_s)},
    )
    return [Tried(row.kind, int(row.attempts), int(row.failed)) for row in rows]


def letters_lately(connection: Connection, window_s: float) -> dict[str, int]:
    """Dead letters of the window that nobody has taken care of, by kind; counted in their index alone."""
    rows = connection.execute(
        text(
            "SELECT kind, COUNT(*) AS n FROM dead_letters FORCE INDEX (ix_dead_letters_created)"
            " WHERE created_at >= NOW(6) - INTERVAL :window_s SECOND AND status = 'dead' GROUP BY kind ORDER BY kind"
        ),
        {"window_s": int(window_s)},
    )
    return {row.kind: int(row.n) for row in rows}


def stuck_runs(connection: Connection, stuck_s: float) -> list[tuple[str, float]]:
    """Runs whose jobs are in workers' hands, alive, and that have recorded nothing for so long: ``(run_id, seconds)``."""
    rows = connection.execute(
        text(
            "SELECT r.run_id, TIMESTAMPDIFF(SECOND, r.progress_at, NOW(6)) AS still_s FROM runs r"
            " WHERE r.status IN ('planning', 'running') AND r.progress_at < NOW(6) - INTERVAL :stuck_s SECOND"
            " AND EXISTS (SELECT 1 FROM jobs j FORCE INDEX (ix_jobs_run_state_due)"
            "  WHERE j.run_id = r.run_id AND j.state = 'running')"
            " ORDER BY r.progress_at LIMIT 20"
        ),
        {"stuck_s": int(stuck_s)},
    )
    return [(row.run_id, float(row.still_s)) for row in rows]


def paused_by_system(connection: Connection) -> list[tuple[str, str]]:
    """Runs that wait for somebody to look: ``(run_id, reason)``."""
    rows = connection.execute(
        text("SELECT run_id, reason FROM runs WHERE status = 'paused' AND reason LIKE 'paused by system%' LIMIT 20")
    )
    return [(row.run_id, row.reason) for row in rows]
