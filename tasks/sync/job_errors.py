"""What an error of the API means for the job that met it."""

from __future__ import annotations

from tasks.errors import LOOK_AGAIN_S, PauseRun, Permanent, Retry, Snooze
from tasks.sync.errors import NotNow
from tasks.sync.remote_errors import NotFound, RateLimited, Rejected, RemoteError, Unavailable, Unusable

DEFAULT_WAIT_S = 30.0
"""How long to wait after a 429 that does not say how long."""
HELD_WAIT_S = 2.0
"""How long to wait for entities that somebody else is writing."""


def answer_to(error: RemoteError) -> Exception:
    """The answer of the job: snooze, retry, dead letter, or a pause of the run."""
    if isinstance(error, NotNow):
        return _later(error, error.wait_s)
    if isinstance(error, RateLimited):
        return _later(error, DEFAULT_WAIT_S if error.retry_after_s is None else error.retry_after_s)
    if isinstance(error, Unavailable) and error.retry_after_s is not None:
        return _later(error, error.retry_after_s)
    if isinstance(error, Unusable):
        return PauseRun(str(error))
    if isinstance(error, Rejected | NotFound):
        return Permanent(str(error), code=f"http_{error.status}")
    return Retry(str(error))


def _later(error: RemoteError, wait_s: float) -> Snooze:
    # The gate is shared and knows how long in full: whoever looks again in between asks Redis, not the API.
    return Snooze(str(error), delay_s=min(wait_s, LOOK_AGAIN_S))
