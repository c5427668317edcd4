"""What the tables and the disk tell of trouble: each verdict pure, facts in, what to do out."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from sqlalchemy import Connection

from ops.checks import Check, fail, ok, warn
from ops.output import duration
from runstate import overview, trouble
from runstate.overview import Waiting
from runstate.trouble import Tried
from tasks.settings import settings

WINDOW_S = 300.0
LEAST_ATTEMPTS = 20
"""Fewer say nothing about a share."""
DISK_WARN, DISK_FAIL = 0.10, 0.03


def told_by_tables(connection: Connection) -> list[Check]:
    """The checks that need nothing but MySQL."""
    limits = settings().alerts
    return [
        *(judge_failures(tried, limits.failure_share) for tried in trouble.tried_lately(connection, WINDOW_S)),
        judge_letters(trouble.letters_lately(connection, WINDOW_S)),
        judge_stuck(trouble.stuck_runs(connection, limits.stuck_s)),
        judge_paused(trouble.paused_by_system(connection)),
        *(judge_backlog(kind, limits.backlog_s) for kind in overview.waiting(connection)),
    ]


def judge_failures(tried: Tried, share: float) -> Check:
    """Retries happen; a large share of them means that something is broken."""
    name = f"failures of {tried.kind}"
    found = f"{tried.failed} of {tried.attempts} attempts failed in the last {duration(WINDOW_S)}"
    if tried.attempts < LEAST_ATTEMPTS or tried.failed < share * tried.attempts:
        return ok(name, found)
    advice = (
        f"`python -m ops dead-letters list --group --kind {tried.kind}`, `python -m ops runs list --kind {tried.kind}`"
    )
    return (fail if tried.failed >= min(1.0, 2.5 * share) * tried.attempts else warn)(name, found, advice)


def judge_letters(by_kind: Mapping[str, int]) -> Check:
    """New dead letters want a decision."""
    if not by_kind:
        return ok("new dead letters", f"none in the last {duration(WINDOW_S)}")
    found = ", ".join(f"{count} of {kind}" for kind, count in by_kind.items())
    return warn("new dead letters", found, "`python -m ops dead-letters list --group`, then replay or discard")


def judge_stuck(stuck: Sequence[tuple[str, float]]) -> Check:
    """Alive and without progress: wedged, or a job that is much larger than jobs should be."""
    if not stuck:
        return ok("stuck runs", "none")
    found = ", ".join(f"{run_id} for {duration(still_s)}" for run_id, still_s in stuck)
    return fail("stuck runs", found, "`python -m ops runs explain RUN`; the job's own log says where it stands")


def judge_paused(paused: Sequence[tuple[str, str]]) -> Check:
    """Paused by the system means: waits for a person."""
    if not paused:
        return ok("paused by system", "none")
    found = "; ".join(f"{run_id}: {reason.removeprefix('paused by system: ')}" for run_id, reason in paused)
    return fail("paused by system", found, "mend what it says, then `python -m ops runs resume RUN`")


def judge_backlog(kind: Waiting, longest_s: float) -> Check:
    """Due work may wait for its turn, but not for ever."""
    name = f"backlog of {kind.kind}"
    if kind.due_age_s is None:
        return ok(name, "nothing is due")
    found = f"{kind.open} jobs open, the oldest due for {duration(kind.due_age_s)} (run {kind.due_run_id})"
    if kind.due_age_s <= longest_s:
        return ok(name, found)
    return warn(name, found, "more processes for its pool, or another host; `python -m ops queues`")


def check_disk(folder: Path) -> Check:
    """Room where this host writes."""
    usage = shutil.disk_usage(folder)
    free = usage.free / usage.total
    name, found = "disk", f"{usage.free / 2**30:.1f} GiB free ({free:.0%}) under {folder}"
    if free > DISK_WARN:
        return ok(name, found)
    return (warn if free > DISK_FAIL else fail)(name, found, "make room; runs that meet a full disk are paused")
