"""What a run was in, from when to when: waiting for its admission, planning, running, paused, cancelling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from runstate.pages import AuditRow
from runstate.runs import Run
from runstate.statuses import RunStatus

_MOVES = ("running", "paused", "cancelling")


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which the run was in one state."""

    state: str
    begin: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        return (self.end - self.begin).total_seconds()


@dataclass(frozen=True, slots=True)
class Course:
    """A run from its request until its end, or until it was looked at; ``progress_at`` only while it goes on."""

    begin: datetime
    end: datetime
    stretches: tuple[Stretch, ...]
    progress_at: datetime | None

    @property
    def seconds(self) -> float:
        """Its length; a moment at least, so that it can be drawn."""
        return max(0.001, (self.end - self.begin).total_seconds())

    def totals(self) -> list[tuple[str, float, int]]:
        """Each state with the seconds spent in it and how often, in the order in which they came first."""
        found: dict[str, tuple[float, int]] = {}
        for stretch in self.stretches:
            seconds, times = found.get(stretch.state, (0.0, 0))
            found[stretch.state] = seconds + stretch.seconds, times + 1
        return [(state, seconds, times) for state, (seconds, times) in found.items()]


def course_of(run: Run, planned_at: datetime | None, audit: Sequence[AuditRow]) -> Course:
    """From the run's times, the end of its planning and what the audit log says of it.

    A pause by ``system`` has no entry of its own: it is taken to begin with the last progress before it.
    """
    end = run.finished_at or run.seen_at
    changes: list[tuple[datetime, str]] = [(run.requested_at, "waiting")]
    if run.started_at is not None:
        changes.append((run.started_at, "planning"))
    if planned_at is not None and run.jobs_total:
        changes.append((planned_at, "running"))
    for row in sorted(audit, key=lambda row: row.id):
        before, after = _status(row.before), _status(row.after)
        if before == "paused" and changes[-1][1] == "running" and run.started_at is not None:
            changes.append((_heartbeat(row.before) or row.at, "paused"))
        if after in _MOVES:
            changes.append((row.at, after))
    if run.status is RunStatus.PAUSED and changes[-1][1] != "paused":
        changes.append((run.progress_at or run.heartbeat_at or end, "paused"))
    return Course(run.requested_at, end, _stretches(changes, end), None if run.ended else run.progress_at)


def _stretches(changes: list[tuple[datetime, str]], end: datetime) -> tuple[Stretch, ...]:
    # In the order of time; of two at one moment the later said one counts.
    changes.sort(key=lambda change: change[0])
    made: list[Stretch] = []
    for (at, state), (following, _) in zip(changes, [*changes[1:], (end, "")], strict=True):
        until = min(following, end)
        if until - at <= timedelta(0):
            continue
        if made and made[-1].state == state:
            made[-1] = Stretch(state, made[-1].begin, until)
        else:
            made.append(Stretch(state, at, until))
    return tuple(made)


def _status(document: object) -> str:
    return str(document.get("status", "")) if isinstance(document, dict) else ""


def _heartbeat(document: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(document["heartbeat_at"]))  # type: ignore[index]
    except (KeyError, TypeError, ValueError):
        return None
