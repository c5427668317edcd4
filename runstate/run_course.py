"""The course of one run for a drawing: when its planning ended, what its attempts came to over time, its jobs' sums so far."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from runstate import documents

MOST_SUMMED = 5000
"""A run with more done jobs than this has no sums before its end: its page must not read them all every few seconds."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Attempts that began within one part of the run's time, by how they ended."""

    at: datetime
    done: int
    failed: int
    dead: int


def slots(connection: Connection, run_id: str, begin: datetime, end: datetime, most: int = 60) -> list[Slot]:
    """The run's attempts between two times, in ``most`` parts of the same length, the oldest first.

    Read from the index (run_id, outcome, started_at) alone; with a million attempts it still takes a good part of a second.
    """
    width_us = max(1, int((end - begin) / timedelta(microseconds=1)) // most + 1)
    rows = connection.execute(
        text(
            "SELECT TIMESTAMPDIFF(MICROSECOND, :begin, started_at) DIV :width AS slot, SUM(outcome = 'done') AS done,"
            " SUM(outcome IN ('retry', 'crashed', 'lost')) AS failed, SUM(outcome = 'dead') AS dead"
            " FROM job_attempts FORCE INDEX (ix_job_attempts_run)"
            " WHERE run_id = :run_id AND outcome IN ('done', 'retry', 'crashed', 'lost', 'dead') GROUP BY slot"
        ),
        {"run_id": run_id, "begin": begin, "width": width_us},
    )
    found = {int(row.slot): row for row in rows if row.slot is not None}
    made = []
    for place in range(most):
        row = found.get(place)
        at = begin + timedelta(microseconds=place * width_us)
        made.append(Slot(at, int(row.done), int(row.failed), int(row.dead)) if row is not None else Slot(at, 0, 0, 0))
    return made


def planned_at(connection: Connection, run_id: str) -> datetime | None:
    """When the planning ended, None where it did not (yet)."""
    at: datetime | None = connection.scalar(
        text(
            "SELECT MAX(started_at + INTERVAL COALESCE(duration_ms, 0) * 1000 MICROSECOND) FROM job_attempts"
            " WHERE run_id = :run_id AND job_no = 0 AND outcome = 'done'"
        ),
        {"run_id": run_id},
    )
    return at


def sums(connection: Connection, run_id: str, *, most: int = MOST_SUMMED) -> dict[str, Any]:
    """The sums of the numbers in the results of the run's done jobs; ``{}`` where there are more than ``most`` of them."""
    rows = connection.execute(
        text(
            "SELECT result FROM jobs WHERE run_id = :run_id AND state = 'done' AND role = 'work' AND result IS NOT NULL"
            " LIMIT :most"
        ),
        {"run_id": run_id, "most": most + 1},
    ).all()
    if len(rows) > most:
        return {}
    totals: Counter[str] = Counter()
    for row in rows:
        result = documents.load(row.result)
        if isinstance(result, dict):
            totals.update({name: n for name, n in result.items() if isinstance(n, int) and not isinstance(n, bool)})
    return dict(totals)
