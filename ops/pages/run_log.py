"""The log of a run: everything that happened to it, from its own row, the audit log, its failures and its replays."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ops.pages.run_facts import Facts
from ops.pages.show import tone
from runstate.run_page import Attempt

MOST_FAILURES = 8
_FAILURES = ("retry", "dead", "crashed", "lost")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to the run, for its log."""

    at: datetime
    what: str
    tone: str
    text: str


def events(facts: Facts) -> list[Event]:
    """The newest first: its own changes, what operators did, the newest attempts that failed, runs that replay it."""
    run = facts.run
    found = [Event(run.requested_at, "requested", "calm", f"by {run.requested_by}")]
    if run.started_at:
        found.append(Event(run.started_at, "admitted", "live", f"fence {run.fence}"))
    found += [Event(row.at, row.action, "warn", f"by {row.actor}: {row.reason}") for row in facts.audit]
    running = next((stretch.begin for stretch in facts.course.stretches if stretch.state == "running"), None)
    if running is not None:
        found.append(Event(running, "planned", "live", f"{run.jobs_total:,} jobs in all by now"))
    found += [
        Event(attempt.started_at, attempt.outcome, tone(attempt.outcome), f"job {attempt.job_no}{_why(attempt)}")
        for attempt in [each for each in facts.failed if each.outcome in _FAILURES][:MOST_FAILURES]
        if attempt.started_at is not None
    ]
    found += [
        Event(child["requested_at"], "replayed", "calm", f"run {child['run_id']} does its letters or rest")
        for child in facts.children
    ]
    if run.finished_at:
        found.append(Event(run.finished_at, run.status.value, tone(run.status.value), run.reason or ""))
    return sorted(found, key=lambda event: event.at, reverse=True)


def _why(attempt: Attempt) -> str:
    told = [part for part in (attempt.error_class, attempt.error) if part]
    return f": {': '.join(told)}" if told else ""
