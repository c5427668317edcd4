"""A run and what belongs to it, read in one transaction, in bounded steps however many jobs it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from ops.pages.run_course import Course, course_of
from ops.pages.runs import eta_s
from runstate import letters, pages, run_course, run_hands, run_page, runs
from runstate.letters import Filter
from runstate.pages import AuditRow, LetterGroup
from runstate.run_hands import Hand
from runstate.run_page import Attempt, Pulse
from runstate.runs import Run
from runstate.stale import stale_since
from runstate.statuses import RunStatus
from tasks.describe import about_start
from tasks.kinds import JobKind
from tasks.registry import kinds, kinds_by_queue

OFFERED: Mapping[RunStatus, tuple[str, ...]] = {
    RunStatus.REQUESTED: ("cancel",),
    RunStatus.PLANNING: ("cancel", "recover"),
    RunStatus.RUNNING: ("pause", "cancel", "recover"),
    RunStatus.PAUSED: ("resume", "cancel", "recover"),
    RunStatus.CANCELLING: ("recover",),
    RunStatus.FAILED: ("retry",),
    RunStatus.CANCELLED: ("retry",),
    RunStatus.COMPLETED: ("retry",),
}
"""What can be done to a run that stands there; a healthy run is not offered for recovery."""


@dataclass(frozen=True, slots=True)
class Facts:
    """A run and what belongs to it."""

    run: Run
    about: str
    queue: str | None
    stale_since: datetime | None
    pulse: Pulse
    hands: list[Hand]
    attempts: list[Attempt]
    failed: list[Attempt]
    outcomes: dict[str, int]
    groups: list[LetterGroup]
    audit: list[AuditRow]
    children: list[Mapping[str, Any]]
    course: Course

    @property
    def eta_s(self) -> float | None:
        """Seconds to the end at its pace."""
        return eta_s(self.run, self.pulse.jobs_per_s)

    @property
    def states(self) -> list[tuple[str, int]]:
        """Its jobs by state, from the counters of its row and what is out."""
        run, pulse = self.run, self.pulse
        waiting = max(0, run.jobs_open - pulse.out - pulse.in_hand) if not run.ended else 0
        return [
            ("done", run.jobs_done),
            ("running", pulse.in_hand),
            ("queued", pulse.out),
            ("pending", waiting),
            ("dead", run.jobs_dead),
            ("cancelled", run.jobs_cancelled),
        ]

    def offered(self) -> list[str]:
        """What can be done now."""
        actions = OFFERED.get(self.run.status, ())
        rest = self.run.jobs_dead + self.run.jobs_cancelled
        return [
            action
            for action in actions
            if (action != "recover" or self.stale_since is not None) and (action != "retry" or rest > 0)
        ]


def read_facts(connection: Connection, run_id: str) -> Facts:
    """Read all of it, in one transaction."""
    run = runs.get(connection, run_id)
    kind = kinds().get(run.kind)
    since = None
    if kind is not None:
        neighbours = [other.name for other in kinds_by_queue()[kind.queue]]
        since = stale_since(connection, run, kind.stale_after_s, neighbours)
    audit = pages.audit_page(connection, subject=run_id, most=50)
    failed = run_page.attempts_page(connection, run_id, failed=True, most=30)
    return Facts(
        run=run,
        about=_about(kind, run),
        queue=None if kind is None else kind.queue,
        stale_since=since,
        pulse=run_page.pulse(connection, run_id),
        hands=run_hands.hands(connection, run_id),
        attempts=run_page.attempts_page(connection, run_id, most=40),
        failed=failed,
        outcomes=run_page.outcome_counts(connection, run_id),
        groups=pages.letter_groups(connection, Filter(run_id=run_id, status=None), most=20)
        if run.jobs_dead or letters.find(connection, Filter(run_id=run_id, status=None), most=1)
        else [],
        audit=audit,
        children=run_page.children(connection, run_id),
        course=course_of(run, run_course.planned_at(connection, run_id), audit),
    )


def _about(kind: JobKind | None, run: Run) -> str:
    try:
        return about_start(kind, run.run_id, run.args)
    except Exception:
        # A kind's own words for arguments that may have come by name, unchecked: the page must show such a run above all.
        return ""
