"""The answers a job can raise, and the errors a caller of the machinery can take a decision on.

A job's ``perform`` returns a result dict, or raises one of `Permanent`, `Snooze`, `Retry`, `PauseRun`, `ResourceTrouble`,
`FailRun`, or anything else (an unknown exception is retried until the attempts are used up).  `tasks.decide` maps each
to one outcome.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any


class TasksError(Exception):
    """Base of every error that `tasks` raises."""


class BadArguments(TasksError, ValueError):
    """A start was made with arguments that its kind cannot take; nothing was recorded."""


class DatabaseDown(TasksError):
    """MySQL cannot be reached, so a start cannot be accepted; nothing was recorded (but see `StartUnknown`)."""


class StartUnknown(DatabaseDown):
    """MySQL went away during the COMMIT of a start: run ``run_id`` is recorded and will run, or it is not."""

    def __init__(self, message: str, *, run_id: str) -> None:
        super().__init__(message)
        self.run_id = run_id


class IdempotencyConflict(TasksError):
    """The idempotency key is taken by a start of the same kind with other arguments."""

    def __init__(self, message: str, *, run_id: str) -> None:
        super().__init__(message)
        self.run_id = run_id


class RunRefused(TasksError):
    """`admit()` found another active run with the same admission key."""

    def __init__(self, message: str, *, run_id: str, active_run_id: str, reason: str) -> None:
        super().__init__(message)
        self.run_id = run_id
        self.active_run_id = active_run_id
        self.reason = reason


class JobAnswer(TasksError):
    """Base of the answers a job may raise on purpose."""


class Permanent(JobAnswer):
    """The job can never be done as it is: dead letter now, no further attempt."""

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


class Retry(JobAnswer):
    """A transient failure: uses an attempt, comes back after backoff and never before ``not_before_s`` seconds."""

    def __init__(self, message: str, *, not_before_s: float = 0.0) -> None:
        super().__init__(message)
        self.not_before_s = not_before_s


LOOK_AGAIN_S = 300.0
"""A limit or a pause may be lifted by an operator: a job that waits for one should look again after so many seconds."""


class Snooze(JobAnswer):
    """Not now: come back after ``delay_s`` seconds, or at ``until`` (aware UTC); costs no attempt."""

    def __init__(self, message: str = "", *, delay_s: float | None = None, until: datetime | None = None) -> None:
        if (delay_s is None) == (until is None):
            raise ValueError("Snooze takes either delay_s= or until=, one of the two")
        super().__init__(message)
        self.delay_s = delay_s
        self.until = until


class PauseRun(JobAnswer):
    """The run must not go on until somebody has looked (a provider's policy block): paused by ``system``, no attempt used."""


class ResourceTrouble(PauseRun):
    """The machine cannot go on (disk full, out of memory in Redis): the run is paused by ``system``, no attempt used."""


class FailRun(JobAnswer):
    """No job of this run can succeed (the source changed, a threshold was crossed): the run fails with this reason."""


class WorkStopped(TasksError):
    """The job lost its claim or its run was paused, cancelled or recovered; whatever it did not record is not done.

    ``reason`` is one of ``paused``, ``cancelled``, ``fenced``, ``lease_lost``, ``timeout``, ``database``.
    """

    def __init__(self, reason: str, message: str = "") -> None:
        super().__init__(message or f"stop asked: {reason}")
        self.reason = reason


def describe(error: BaseException) -> dict[str, Any]:
    """The class name and the message of ``error``, as they go into an attempt or a dead letter."""
    return {"error_class": f"{type(error).__module__}.{type(error).__qualname__}", "error": str(error)}
