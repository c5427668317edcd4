"""One run: how it stands, what it did, what it waits for, and what can be done about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from ops.pages.handler import Page, asked, shared
from ops.pages.runs import eta_s
from runstate import letters, pages, queries, run_page, runs
from runstate.letters import Filter
from runstate.pages import AuditRow, LetterGroup
from runstate.run_page import Attempt, Pulse
from runstate.runs import Run
from runstate.stale import stale_since
from runstate.statuses import RunStatus
from tasks.describe import about_start
from tasks.explain import explain
from tasks.kinds import JobKind
from tasks.registry import kinds, kinds_by_queue

EVERY_S = 2
"""How often a page asks how its run stands; two pages of one run are answered from one look."""
_WHOLE = 36
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
class Event:
    """Something that happened to the run, for its log."""

    at: datetime
    what: str
    tone: str
    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """A run and what belongs to it."""

    run: Run
    about: str
    queue: str | None
    stale_since: datetime | None
    pulse: Pulse
    attempts: list[Attempt]
    failed: list[Attempt]
    outcomes: dict[str, int]
    groups: list[LetterGroup]
    audit: list[AuditRow]
    children: list[Mapping[str, Any]]

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


class RunPage(Page):
    """A run's page; its script asks every two seconds while the run is not at its end."""

    tab = "runs"

    async def get(self, given: str) -> None:
        whole = len(given) == _WHOLE
        run_id = given if whole else await self.off_loop(asked(lambda c: queries.resolve_run_id(c, given)))
        if not whole:
            self.redirect(self.link("run", run_id))
            return
        read = asked(lambda c: read_facts(c, run_id))
        # Whoever opens the page sees how it stands now, for he may act on it; only the renewing is shared.
        facts = await (
            shared().get(("run", run_id), read, fresh_s=EVERY_S, stale_s=3 * EVERY_S)
            if self.is_live
            else self.off_loop(read)
        )
        # Locks, broker, the jobs of other runs: looked at beside the page, which does not wait.
        found = await shared().soon(("explain", run_id), lambda: explain(run_id).findings, fresh_s=4, patience_s=0.06)
        self.page(
            "run.html",
            parts={"state": "run_state.html", "findings": "run_findings.html", "attempts": "run_attempts.html"},
            facts=facts,
            run=facts.run,
            findings=found,
            events=_events(facts),
            every_s=30 if facts.run.ended else EVERY_S,
        )


def read_facts(connection: Connection, run_id: str) -> Facts:
    """Read all of it, in one transaction."""
    run = runs.get(connection, run_id)
    kind = kinds().get(run.kind)
    since = None
    if kind is not None:
        neighbours = [other.name for other in kinds_by_queue()[kind.queue]]
        since = stale_since(connection, run, kind.stale_after_s, neighbours)
    failed = run_page.attempts_page(connection, run_id, failed=True, most=30)
    return Facts(
        run=run,
        about=_about(kind, run),
        queue=None if kind is None else kind.queue,
        stale_since=since,
        pulse=run_page.pulse(connection, run_id),
        attempts=run_page.attempts_page(connection, run_id, most=40),
        failed=failed,
        outcomes=run_page.outcome_counts(connection, run_id),
        groups=pages.letter_groups(connection, Filter(run_id=run_id, status=None), most=20)
        if run.jobs_dead or letters.find(connection, Filter(run_id=run_id, status=None), most=1)
        else [],
        audit=pages.audit_page(connection, subject=run_id, most=50),
        children=run_page.children(connection, run_id),
    )


def _about(kind: JobKind | None, run: Run) -> str:
    try:
        return about_start(kind, run.run_id, run.args)
    except Exception:
        # A kind's own words for arguments that may have come by name, unchecked: the page must show such a run above all.
        return ""


def _events(facts: Facts) -> list[Event]:
    run = facts.run
    events = [Event(run.requested_at, "requested", "calm", f"by {run.requested_by}")]
    if run.started_at:
        events.append(Event(run.started_at, "admitted", "live", f"fence {run.fence}"))
    events += [Event(row.at, row.action, "warn", f"by {row.actor}: {row.reason}") for row in facts.audit]
    events += [
        Event(
            attempt.started_at, attempt.outcome, "bad", f"job {attempt.job_no}: {attempt.error_class}: {attempt.error}"
        )
        for attempt in facts.failed[:15]
        if attempt.started_at is not None
    ]
    events += [
        Event(child["requested_at"], "replayed", "calm", f"run {child['run_id']} does its letters or rest")
        for child in facts.children
    ]
    if run.finished_at:
        tone = "good" if run.status is RunStatus.COMPLETED else "bad"
        events.append(Event(run.finished_at, run.status.value, tone, run.reason or ""))
    return sorted(events, key=lambda event: event.at, reverse=True)
