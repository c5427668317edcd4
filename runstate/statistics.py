"""How attempts went, by kind and hour, from `job_attempts`: dear with millions of rows, so callers keep the answer for a while."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class HourOfKind:
    """The attempts of one kind that began in one hour; ``hour`` is naive UTC.

    ``failed`` counts retries, dead letters and crashes; durations are of all attempts that ended in an answer
    """

    kind: str
    hour: datetime
    attempts: int
    done: int
    failed: int
    mean_ms: float
    p95_ms: float
    longest_ms: int
    peak_memory_kb: int | None

    @property
    def failure_rate(self) -> float:
        """The share of attempts that failed."""
        return self.failed / self.attempts if self.attempts else 0.0


def hours_of_kinds(connection: Connection, hours: int, kind: str | None = None) -> list[HourOfKind]:
    """The last ``hours``, the newest first; the 95th percentile is an observed value (nearest rank)."""
    rows = connection.execute(
        text(
            "SELECT kind, hour, MAX(n) AS attempts, SUM(outcome = 'done') AS done,"
            " SUM(outcome IN ('retry', 'dead', 'crashed')) AS failed, AVG(duration_ms) AS mean_ms,"
            " MAX(IF(place = CEIL(0.95 * n), duration_ms, NULL)) AS p95_ms, MAX(duration_ms) AS longest_ms,"
            " MAX(peak_memory_kb) AS peak_memory_kb FROM"
            " (SELECT r.kind, STR_TO_DATE(DATE_FORMAT(a.started_at, '%Y-%m-%d %H:00:00'), '%Y-%m-%d %H:%i:%s') AS hour,"
            "  a.outcome, a.duration_ms, a.peak_memory_kb,"
            "  ROW_NUMBER() OVER (PARTITION BY r.kind, DATE_FORMAT(a.started_at, '%Y-%m-%d %H') ORDER BY a.duration_ms) AS place,"
            "  COUNT(*) OVER (PARTITION BY r.kind, DATE_FORMAT(a.started_at, '%Y-%m-%d %H')) AS n"
            "  FROM job_attempts a JOIN runs r ON r.run_id = a.run_id"
            "  WHERE a.started_at >= NOW(6) - INTERVAL :hours HOUR AND a.duration_ms IS NOT NULL"
            "  AND a.outcome IN ('done', 'retry', 'dead', 'crashed')"
            + (" AND r.kind = :kind" if kind else "")
            + ") each_attempt GROUP BY kind, hour ORDER BY hour DESC, kind"
        ),
        {"hours": hours, "kind": kind},
    ).mappings()
    return [
        HourOfKind(
            kind=row["kind"],
            hour=row["hour"],
            attempts=int(row["attempts"]),
            done=int(row["done"]),
            failed=int(row["failed"]),
            mean_ms=float(row["mean_ms"]),
            p95_ms=float(row["p95_ms"]),
            longest_ms=int(row["longest_ms"]),
            peak_memory_kb=row["peak_memory_kb"],
        )
        for row in rows
    ]
