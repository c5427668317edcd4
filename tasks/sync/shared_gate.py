"""The gate of a connection: rates, pauses, Retry-After, a breaker and places that every worker of every host keeps together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import redis

from locks.breaker import Breaker, Call, Refused
from locks.errors import LocksError
from locks.limits import Limit, NotBefore, RateLimiter
from locks.slots import Place, SharedSlots
from tasks import metrics
from tasks.sync.connections import SyncConnection
from tasks.sync.errors import NotNow

SHORT_S = 2.0
"""A turn that is this near is waited for; for a longer wait the job goes back, and its worker does something else."""
SLICE_S = 0.2
REDIS_AWAY_S = 2.0
FULL_S = 1.0
"""How long to stay away where every place was taken for `SHORT_S`."""
PLACE_TTL_S = 300.0
"""Longer than a request may take: a place is not renewed."""
LONGEST_PAUSE_S = 24 * 3600.0
"""An API that asks for more is asked again after a day."""


def connection_key(connection: str) -> str:
    """The limiter's key of a connection."""
    return f"sync:connection:{connection}"


class SharedGate:
    """What a connector asks before each request, and tells after each answer.

    The order: the breaker (is anybody there?), a place, and last the limiter, so that its slot is used at once.
    """

    def __init__(
        self,
        client: redis.Redis,
        limiter: RateLimiter,
        connection: SyncConnection,
        stop_if_asked: Callable[[], None],
        *,
        owner: str,
    ) -> None:
        name = connection.name
        self._limiter = limiter
        self._connection = name
        self._limits: dict[str, Sequence[Limit]] = {
            connection_key(name): [Limit.parse(rate) for rate in connection.limits]
        }
        self._breaker = Breaker(client, ["sync", name])
        self._places = None
        if connection.concurrency is not None:
            limit = connection.concurrency
            self._places = SharedSlots(client, ["sync", name], limit=limit, ttl_s=PLACE_TTL_S, owner=owner)
        self._stop_if_asked = stop_if_asked
        # A request of this thread that is under way: pages are fetched ahead in another thread.
        self._mine = threading.local()

    def before_request(self) -> None:
        """Return when a request may start; raises `NotNow` where that is more than `SHORT_S` away."""
        self._call_off()
        try:
            self._ask()
        except LocksError as error:
            self._call_off()
            raise NotNow(f"the shared limits cannot be asked: {error}", wait_s=REDIS_AWAY_S) from error
        except BaseException:
            # A probe that nobody makes would keep everybody away for as long as one may take.
            self._call_off()
            raise

    def _ask(self) -> None:
        call = self._breaker.allow()
        if isinstance(call, Refused):
            raise NotNow(f"connection {self._connection} fails: {call.why}", wait_s=max(call.wait_s, 0.1))
        self._mine.call = call
        if self._places is not None:
            self._mine.place = self._places.take(wait_s=SHORT_S)
            if self._mine.place is None:
                raise NotNow(f"connection {self._connection}: every place is taken", wait_s=FULL_S)
        answer = self._limiter.take(self._limits, at_most_wait_s=SHORT_S, sleep=self._sleep)
        key = connection_key(self._connection)
        metrics.count_limited(key, None if isinstance(answer, NotBefore) else answer.go_in_s)
        if isinstance(answer, NotBefore):
            raise NotNow(f"connection {self._connection}: {answer.limited_by}", wait_s=answer.wait_s)

    def after_answer(self, status: int | None, wait_s: float | None) -> None:
        """An API that asks for a wait gets it, from all workers: from now on no request starts until it is over."""
        call = self._taken_call()
        self._give_place_back()
        try:
            if wait_s is not None and wait_s > 0:
                reason = f"HTTP {status}, Retry-After {wait_s:.0f} s"
                self._limiter.pause(connection_key(self._connection), min(wait_s, LONGEST_PAUSE_S), reason)
            if call is not None:
                # Whoever says when to come back is there, whatever the status.
                ok = status is not None and (status < 500 or bool(wait_s))
                self._breaker.record(call, ok=ok, why="no answer" if status is None else f"HTTP {status}")
        except LocksError as error:
            # This worker stops by the answer itself; the others ask the same Redis, which is away, and wait as well.
            raise NotNow(f"HTTP {status}; this could not be shared: {error}", wait_s=wait_s or REDIS_AWAY_S) from error

    def _call_off(self) -> None:
        """The request that this thread was about to make is not made."""
        self._give_place_back()
        call = self._taken_call()
        if call is not None:
            with suppress(LocksError):
                # Another one may probe after a minute in any case.
                self._breaker.give_back(call)

    def _taken_call(self) -> Call | None:
        call: Call | None = getattr(self._mine, "call", None)
        self._mine.call = None
        return call

    def _give_place_back(self) -> None:
        place: Place | None = getattr(self._mine, "place", None)
        self._mine.place = None
        if place is not None:
            with suppress(LocksError):
                # It frees itself.
                place.release()

    def _sleep(self, seconds: float) -> None:
        self._stop_if_asked()
        time.sleep(min(seconds, SLICE_S))
