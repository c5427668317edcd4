"""The last day by hour and by kind, out of the statistics that everybody shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ops.statistics import statistics
from runstate.statistics import HourOfKind

HOURS = 24


@dataclass(frozen=True, slots=True)
class Hour:
    """Attempts that began in one hour; dead letters are among the failures here, the statistics do not tell them apart."""

    at: datetime
    done: int
    failed: int
    dead: int = 0


@dataclass(frozen=True, slots=True)
class OfKind:
    """A kind over the whole time; durations in seconds, ``p95_s`` that of its worst hour."""

    kind: str
    attempts: int
    failed: int
    mean_s: float
    p95_s: float
    peak_memory_kb: int | None


@dataclass(frozen=True, slots=True)
class Hours:
    """By hour, the oldest first, and by kind, the most failures first; ``age_s``: how old the statistics are."""

    hours: list[Hour]
    kinds: list[OfKind]
    age_s: float


def read_hours() -> Hours:
    """Ask the statistics.  Raises `locks.LocksError`, `runstate.errors.DatabaseUnavailable`."""
    rows, age_s = statistics(HOURS)
    return Hours(by_hour(rows, datetime.now(UTC).replace(tzinfo=None)), by_kind(rows), age_s)


def by_hour(rows: Sequence[HourOfKind], now: datetime) -> list[Hour]:
    """All kinds together, every hour until ``now``, those without attempts too."""
    last = now.replace(minute=0, second=0, microsecond=0)
    found = []
    for back in range(HOURS - 1, -1, -1):
        at = last - timedelta(hours=back)
        of = [row for row in rows if row.hour == at]
        found.append(Hour(at, sum(row.done for row in of), sum(row.failed for row in of)))
    return found


def by_kind(rows: Sequence[HourOfKind]) -> list[OfKind]:
    """Each kind that had attempts."""
    found = []
    for kind in sorted({row.kind for row in rows}):
        of = [row for row in rows if row.kind == kind]
        attempts = sum(row.attempts for row in of)
        found.append(
            OfKind(
                kind,
                attempts,
                sum(row.failed for row in of),
                sum(row.mean_ms * row.attempts for row in of) / attempts / 1000,
                max(row.p95_ms for row in of) / 1000,
                max((row.peak_memory_kb for row in of if row.peak_memory_kb is not None), default=None),
            )
        )
    return sorted(found, key=lambda one: (-one.failed, one.kind))
