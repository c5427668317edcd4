"""What an error means for a job: pure, so that a table of tests can hold it."""

from __future__ import annotations

import errno
import random
import traceback as tracebacks
from collections.abc import Callable
from datetime import UTC, datetime

from billiard.exceptions import SoftTimeLimitExceeded
from sqlalchemy.exc import DBAPIError

from runstate.outcomes import Ending, Outcome
from tasks.errors import FailRun, PauseRun, Permanent, Retry, Snooze, WorkStopped
from tasks.kinds import Backoff, JobKind

Jitter = Callable[[float, float], float]

MIN_SNOOZE_S = 0.05
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


def decide(
    error: BaseException,
    attempt: int,
    kind: JobKind,
    *,
    jitter: Jitter = random.uniform,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Outcome | None:
    """The outcome of try number ``attempt`` (1 for the first) that ended in ``error``.

    None: the claim is not this worker's any more, there is nothing to record.

    =====================  ==============================================================================
    `Permanent`            dead letter now
    `FailRun`              dead letter now, and the run fails
    `Snooze`               later, no attempt used
    `PauseRun`             the run is paused by ``system``, no attempt used; so it is for `ResourceTrouble`,
                           ENOSPC, EDQUOT, EROFS
    `Retry`                backoff, never before ``not_before_s``; dead after ``max_attempts``
    `WorkStopped`          paused: back to pending; cancelled: cancelled; lost claim or fence: None
    anything else          backoff; dead after ``max_attempts``, with its traceback
    =====================  ==============================================================================
    """
    if isinstance(error, WorkStopped):
        return _stopped(error, attempt, kind, jitter)
    error_class = _class_name(error)
    message = _message(error) or error_class
    if isinstance(error, Snooze):
        # What it waits for is kept as the job's last error: operators ask why it does not move.
        return Outcome(Ending.SNOOZE, delay_s=max(MIN_SNOOZE_S, _snooze_s(error, now())), error=str(error) or None)
    if isinstance(error, PauseRun) or (isinstance(error, OSError) and error.errno in _NO_ROOM):
        return Outcome(Ending.SNOOZE, error_class=error_class, error=message, pause_run=f"paused by system: {message}")
    trace = "".join(tracebacks.format_exception(error))
    if isinstance(error, FailRun):
        return Outcome(Ending.DEAD, error_class=error_class, error=message, traceback=trace, fail_run=str(error))
    if isinstance(error, Permanent) or attempt >= kind.backoff.max_attempts:
        return Outcome(Ending.DEAD, error_class=error_class, error=message, traceback=trace)
    at_least_s = error.not_before_s if isinstance(error, Retry) else 0.0
    return Outcome(
        Ending.RETRY,
        delay_s=max(at_least_s, backoff_s(kind.backoff, attempt, jitter)),
        error_class=error_class,
        error=message,
    )


def backoff_s(backoff: Backoff, attempt: int, jitter: Jitter = random.uniform) -> float:
    """Full jitter: uniform between 0 and ``min(cap_s, base_s * 2**(attempt - 1))`` seconds.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    return jitter(0.0, min(backoff.cap_s, backoff.base_s * 2.0 ** min(attempt - 1, 60)))


def _stopped(error: WorkStopped, attempt: int, kind: JobKind, jitter: Jitter) -> Outcome | None:
    if error.reason == "paused":
        return Outcome(Ending.STOPPED)
    if error.reason == "cancelled":
        return Outcome(Ending.CANCELLED)
    if error.reason == "timeout":
        return decide(TimeoutError(f"took longer than timeout_s={kind.timeout_s}"), attempt, kind, jitter=jitter)
    return None


def _snooze_s(error: Snooze, now: datetime) -> float:
    if error.delay_s is not None:
        return error.delay_s
    assert error.until is not None
    return (error.until - now).total_seconds()


def _message(error: BaseException) -> str:
    """Of a refused statement what the server said: its values are somebody's data, and would make each letter another trouble."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        args = error.orig.args
        return f"MySQL {args[0]}: {args[1]}" if len(args) > 1 else str(error.orig)
    return str(error)


def _class_name(error: BaseException) -> str:
    if isinstance(error, SoftTimeLimitExceeded):
        return "TimeoutError"
    cls = type(error)
    return (
        cls.__qualname__ if cls.__module__ in ("builtins", "tasks.errors") else f"{cls.__module__}.{cls.__qualname__}"
    )
