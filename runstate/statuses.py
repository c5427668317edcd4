"""The words for where a run and a job stand, and the steps allowed between them, each with its sentence."""

from __future__ import annotations

from enum import StrEnum


class RunStatus(StrEnum):
    """Where a run stands."""

    REQUESTED = "requested"
    """Accepted and durable; admission has not decided yet."""
    REFUSED = "refused"
    """Another active run held the key; ``refused_by`` names it."""
    PLANNING = "planning"
    """Admitted: it holds its key, and job 0 cuts it into jobs."""
    RUNNING = "running"
    """Planned: its jobs are being done."""
    PAUSED = "paused"
    """An operator (or ``system``) holds it: it keeps its key, no new job starts."""
    CANCELLING = "cancelling"
    """An operator ended it; jobs still in a worker's hands are being stopped."""
    COMPLETED = "completed"
    """Every job is accounted for (done, dead or cancelled) and ``finish`` is done."""
    FAILED = "failed"
    """Planning, ``finish``, a threshold or an operator's recovery ended it."""
    CANCELLED = "cancelled"
    """Ended on request; what was recorded before stays."""


class JobState(StrEnum):
    """Where a job stands."""

    PENDING = "pending"
    """Waits in MySQL: for its window, its ``due_at``, or the end of a pause."""
    QUEUED = "queued"
    """Let out: a message for it was sent, or is about to be."""
    RUNNING = "running"
    """Claimed: ``claim_token`` names the claim, ``lease_until`` its end unless renewed."""
    DONE = "done"
    """Recorded, with its effects, in one transaction."""
    DEAD = "dead"
    """Given up, with a dead letter."""
    CANCELLED = "cancelled"
    """Not done, because its run was ended."""


class Role(StrEnum):
    """What a job is for within its run; ``jobs_total`` and its sisters count `WORK` alone."""

    PLAN = "plan"
    WORK = "work"
    FINISH = "finish"


ACTIVE = (RunStatus.PLANNING, RunStatus.RUNNING, RunStatus.PAUSED, RunStatus.CANCELLING)
"""A run in one of these holds its admission key."""
ENDED = (RunStatus.REFUSED, RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED)
OPEN_JOBS = (JobState.PENDING, JobState.QUEUED, JobState.RUNNING)

RUN_TRANSITIONS: dict[tuple[RunStatus, RunStatus], str] = {
    (RunStatus.REQUESTED, RunStatus.REFUSED): "Admission found another active run of the key.",
    (RunStatus.REQUESTED, RunStatus.CANCELLED): "An operator or a revoke took the start back before admission.",
    (
        RunStatus.REQUESTED,
        RunStatus.FAILED,
    ): "The start cannot be admitted as it stands (unknown kind, bad arguments by name).",
    (RunStatus.REQUESTED, RunStatus.PLANNING): "Admitted: the key is free, the fence is raised, job 0 is written.",
    (RunStatus.PLANNING, RunStatus.RUNNING): "The plan is complete; its jobs may be claimed.",
    (RunStatus.PLANNING, RunStatus.COMPLETED): "The plan has no jobs and the kind no finish.",
    (RunStatus.PLANNING, RunStatus.FAILED): "Job 0 became a dead letter, or an operator recovered the run with --fail.",
    (RunStatus.PLANNING, RunStatus.CANCELLING): "An operator cancelled; the planner stops at its next batch.",
    (RunStatus.RUNNING, RunStatus.PAUSED): "An operator paused it, or resource trouble did.",
    (RunStatus.PAUSED, RunStatus.RUNNING): "An operator resumed it.",
    (RunStatus.RUNNING, RunStatus.COMPLETED): "The last job was recorded.",
    (RunStatus.PAUSED, RunStatus.COMPLETED): "The last job was already in a worker's hands when the pause came.",
    (
        RunStatus.RUNNING,
        RunStatus.FAILED,
    ): "finish became a dead letter, a threshold was crossed, or an operator recovered it.",
    (RunStatus.PAUSED, RunStatus.FAILED): "As from running.",
    (RunStatus.RUNNING, RunStatus.CANCELLING): "An operator cancelled; jobs in workers' hands are being stopped.",
    (RunStatus.PAUSED, RunStatus.CANCELLING): "An operator cancelled it out of a pause.",
    (RunStatus.CANCELLING, RunStatus.CANCELLED): "No job is in a worker's hands any more.",
    (RunStatus.CANCELLING, RunStatus.FAILED): "An operator recovered it with --fail while it was cancelling.",
}

JOB_TRANSITIONS: dict[tuple[JobState, JobState], str] = {
    (JobState.PENDING, JobState.QUEUED): "Due, and the run's window has room: let out.",
    (JobState.QUEUED, JobState.PENDING): "Its message is known to be lost, or its run does not run at the moment.",
    (JobState.QUEUED, JobState.RUNNING): "Claimed by a worker.",
    (JobState.RUNNING, JobState.DONE): "Recorded.",
    (JobState.RUNNING, JobState.PENDING): "Retry or snooze (later due_at), stopped by a pause, or the claim was lost.",
    (JobState.RUNNING, JobState.DEAD): "Permanent error, attempts exhausted, or too many crashes.",
    (JobState.RUNNING, JobState.CANCELLED): "Stopped because its run was ended.",
    (JobState.PENDING, JobState.CANCELLED): "Its run was ended before it started.",
    (JobState.QUEUED, JobState.CANCELLED): "Its run was ended before it started.",
    (JobState.DEAD, JobState.PENDING): "Replayed within its active run.",
}
