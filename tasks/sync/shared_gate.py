"""The gate of a connection: rates, pauses and Retry-After that every worker of every host keeps together."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from locks.errors import LocksError
from locks.limits import Limit, NotBefore, RateLimiter
from tasks.sync.errors import NotNow

SHORT_S = 2.0
"""A turn that is this near is waited for; for a longer wait the job goes back, and its worker does something else."""
SLICE_S = 0.2
REDIS_AWAY_S = 2.0
LONGEST_PAUSE_S = 24 * 3600.0
"""An API that asks for more is asked again after a day."""


def connection_key(connection: str) -> str:
    """The limiter's key of a connection."""
    return f"sync:connection:{connection}"


class SharedGate:
    """What a connector asks before each request, and tells after each answer."""

    def __init__(
        self, limiter: RateLimiter, connection: str, rates: Sequence[str], stop_if_asked: Callable[[], None]
    ) -> None:
        self._limiter = limiter
        self._connection = connection
        self._limits = {connection_key(connection): [Limit.parse(rate) for rate in rates]}
        self._stop_if_asked = stop_if_asked
        self.requests = 0

    def before_request(self) -> None:
        """Return when a request may start; raises `NotNow` where that is more than `SHORT_S` away."""
        try:
            answer = self._limiter.take(self._limits, at_most_wait_s=SHORT_S, sleep=self._sleep)
        except LocksError as error:
            raise NotNow(f"the shared limits cannot be asked: {error}", wait_s=REDIS_AWAY_S) from error
        if isinstance(answer, NotBefore):
            raise NotNow(f"connection {self._connection}: {answer.limited_by}", wait_s=answer.wait_s)
        self.requests += 1

    def after_answer(self, status: int | None, wait_s: float | None) -> None:
        """An API that asks for a wait gets it, from all workers: from now on no request starts until it is over."""
        if wait_s is None or wait_s <= 0:
            return
        reason = f"HTTP {status}, Retry-After {wait_s:.0f} s"
        try:
            self._limiter.pause(connection_key(self._connection), min(wait_s, LONGEST_PAUSE_S), reason)
        except LocksError as error:
            # This worker stops by the answer itself; the others ask the same Redis, which is away, and wait as well.
            raise NotNow(f"{reason}; the pause could not be shared: {error}", wait_s=wait_s) from error

    def _sleep(self, seconds: float) -> None:
        self._stop_if_asked()
        time.sleep(min(seconds, SLICE_S))
