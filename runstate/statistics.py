"""How attempts went, by kind and hour, from `job_attempts`: dear with millions of rows, so callers keep the answer for a while."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

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
    """The last ``hours``, the newest first.

    The 95th percentile is an observed value (nearest rank), one of a second or more rounded to three digits: attempts are
    counted by duration in one pass over an index, and that keeps the durations few.
    """
    rows = connection.execute(
        text(
            "SELECT STRAIGHT_JOIN r.kind, UNIX_TIMESTAMP(a.started_at) DIV 3600 AS hour, a.outcome = 'done' AS done,"
            " ROUND(a.duration_ms, -GREATEST(0, LENGTH(a.duration_ms) - 3)) AS rounded_ms, COUNT(*) AS count,"
            " SUM(a.duration_ms) AS sum_ms, MAX(a.duration_ms) AS longest_ms, MAX(a.peak_memory_kb) AS peak_memory_kb"
            " FROM job_attempts a FORCE INDEX (ix_job_attempts_started) JOIN runs r ON r.run_id = a.run_id"
            " WHERE a.started_at >= NOW(6) - INTERVAL :hours HOUR AND a.duration_ms IS NOT NULL"
            " AND a.outcome IN ('done', 'retry', 'dead', 'crashed')"
            + (" AND r.kind = :kind" if kind else "")
            + " GROUP BY r.kind, hour, done, rounded_ms ORDER BY hour DESC, r.kind, rounded_ms"
        ),
        {"hours": hours, "kind": kind},
    )
    # Sorted by what they are grouped by.
    return [
        _summed(name, int(hour), list(members)) for (hour, name), members in groupby(rows, lambda r: (r.hour, r.kind))
    ]


def _summed(kind: str, hour: int, rows: list[Any]) -> HourOfKind:
    attempts = sum(int(row._mapping["count"]) for row in rows)
    done = sum(int(row._mapping["count"]) for row in rows if row.done)
    return HourOfKind(
        kind=kind,
        hour=datetime.fromtimestamp(hour * 3600, UTC).replace(tzinfo=None),
        attempts=attempts,
        done=done,
        failed=attempts - done,
        mean_ms=float(sum(row.sum_ms for row in rows)) / attempts,
        p95_ms=_nearest_rank(rows, math.ceil(0.95 * attempts)),
        longest_ms=max(int(row.longest_ms) for row in rows),
        peak_memory_kb=max((int(row.peak_memory_kb) for row in rows if row.peak_memory_kb is not None), default=None),
    )


def _nearest_rank(rows: list[Any], rank: int) -> float:
    seen = 0
    for row in rows:
        seen += int(row._mapping["count"])
        if seen >= rank:
            break
    return float(row.rounded_ms)
