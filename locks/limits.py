"""Rate limits that all workers of all hosts share: one call to Redis reserves a slot and says when to go.

For example, at most fourteen mails a second and 50,000 a day, whoever sends them::

    limiter = RateLimiter(client)
    rates = {"email:provider:default": [Limit.parse("14/s"), Limit.parse("50000/day")]}
    match limiter.take(rates, at_most_wait_s=2):
        case NotBefore(wait_s=wait_s):
            raise Snooze(delay_s=wait_s)
        case Slot():
            send()
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence

import redis

from .client import TryingTo
from .errors import BadLimit, LimiterUnavailable, LocksError
from .limit import Limit
from .limit_answers import NotBefore, Pause, Slot
from .limit_keys import EPOCH, keys_of, state_key
from .limit_rebuild import Rebuild, rebuild_key
from .limit_scripts import LONGEST_WAIT_US, RESERVE
from .limit_steering import GIVE_BACK, PAUSE, PAUSED, RESUME, SLOW_DOWN

__all__ = ["Limit", "NotBefore", "Pause", "RateLimiter", "Rebuild", "Slot"]

logger = logging.getLogger(__name__)

Limits = Mapping[str, Sequence[Limit]]

_MAX_PERMITS = 1000
_LONGEST_PAUSE_S = 366 * 86400
_SHORTEST_GRACE_S = 0.02
_LATE_SHARE = 0.75
"""Of the gap between two slots: later than the whole gap, two more than the limit could meet at the server."""
_LOOK_AGAIN_AFTER_S = 0.1
"""Waited for longer, a slot is worth a look whether its key was paused meanwhile."""


class RateLimiter:
    """The limits of one Redis.  One per process, made after the fork; its methods may be called from several threads.

    ``rebuild``  given a key and its longest limit of an hour or more, says what went within its period: pairs of age in
                 seconds and count, in any order, ages by the clock that recorded them.  Asked, by one caller at a time,
                 when Redis does not know (any more).  Without it a loss of Redis forgets what went.

    Every method raises `LimiterUnavailable` within about 2 s when Redis is away: then nothing may go.
    """

    def __init__(self, client: redis.Redis, rebuild: Rebuild | None = None) -> None:
        self._client = client
        self._rebuild = rebuild
        self._epoch = ""
        self._counts: dict[str, int] = {}
        self._usual_s: float | None = None
        self._reserved_ahead_us = 0

    def reserve(self, limits: Limits, *, at_most_wait_s: float, permits: int = 1) -> Slot | NotBefore:
        """Take the next slot that all ``limits`` of all keys allow, or nothing if it is more than ``at_most_wait_s`` away.

        Limits of one key bound all that goes through that key, also what was reserved under other limits.  A key without
        limits only waits for its pauses.  Raises `BadLimit` where ``permits`` could never fit.
        """
        _check(limits, at_most_wait_s, permits)
        give_up_at = time.monotonic() + at_most_wait_s
        while True:
            asked_at = time.monotonic()
            answer = self._ask(limits, max(0.0, give_up_at - asked_at), permits)
            received_at = time.monotonic()
            if answer[0] != "rebuild":
                return self._read(list(limits), answer, permits, asked_at, received_at)
            key = list(limits)[int(answer[1]) - 1]
            long = max((limit for limit in limits[key] if limit.period_s >= 3600), key=lambda limit: limit.period_s)
            if not self._put_together_again(key, long, limits[key], answer[3], give_up_at):
                return NotBefore(1.0, key, None, f"{long} is being counted again")

    def take(
        self,
        limits: Limits,
        *,
        at_most_wait_s: float,
        permits: int = 1,
        sleep: Callable[[float], object] = time.sleep,
    ) -> Slot | NotBefore:
        """Reserve and `wait`; a slot that could not be used in time is replaced by the next one.

        ``sleep``  may raise to stop the wait (the slot is then given back), or come back early.
        """
        give_up_at = time.monotonic() + at_most_wait_s
        while True:
            answer = self.reserve(limits, at_most_wait_s=max(0.0, give_up_at - time.monotonic()), permits=permits)
            if isinstance(answer, NotBefore) or self.wait(answer, sleep=sleep):
                return answer

    def wait(self, slot: Slot, *, sleep: Callable[[float], object] = time.sleep) -> bool:
        """Sleep until the slot; True: go now.  False: too late for it (a busy machine), or its key was paused meanwhile.

        Never goes early: it counts from when the answer was received.  A slot of False was given back; reserve another.
        """
        waited_s = slot.go_at - time.monotonic()
        try:
            while (left_s := slot.go_at - time.monotonic()) > 0:
                sleep(left_s)
        except BaseException:
            self._give_back_if_possible(slot)
            raise
        if (waited_s > _LOOK_AGAIN_AFTER_S and self.paused(slot.taken)) or not slot.on_time:
            self._give_back_if_possible(slot)
            return False
        return True

    def give_back(self, slot: Slot) -> bool:
        """Free a slot that was not used, once; False where Redis does not know (all of) it any more."""
        freed = []
        with TryingTo("give a slot back", LimiterUnavailable):
            for key, at in slot.taken.items():
                freed.append(int(GIVE_BACK(self._client, keys_of(key), at, slot.permits)) == slot.permits)
        return all(freed)

    def pause(self, key: str, for_s: float, reason: str) -> Pause:
        """Have nothing go through ``key`` for ``for_s`` seconds.  Never shortens: returns the pause that is in force."""
        if not 0 < for_s <= _LONGEST_PAUSE_S:
            raise BadLimit(f"a pause of {for_s} s for {key}: give more than 0 s, and at most a year")
        with TryingTo(f"pause {key}", LimiterUnavailable):
            left_us, said = PAUSE(self._client, keys_of(key), round(for_s * 1e6), reason)
        return Pause(int(left_us) / 1e6, said)

    def resume(self, key: str) -> float:
        """End the pause of ``key`` and give it its full rate; returns how many seconds the pause would have lasted."""
        with TryingTo(f"resume {key}", LimiterUnavailable):
            return int(RESUME(self._client, [state_key(key)])) / 1e6

    def paused(self, keys: Iterable[str]) -> dict[str, Pause]:
        """Those of ``keys`` that are paused now."""
        asked = list(keys)
        if not asked:
            return {}
        with TryingTo("look for pauses", LimiterUnavailable):
            answer = PAUSED(self._client, [state_key(key) for key in asked])
        pauses = {key: Pause(int(left), why) for key, left, why in zip(asked, answer[::2], answer[1::2], strict=True)}
        return {key: Pause(pause.for_s / 1e6, pause.reason) for key, pause in pauses.items() if pause.for_s > 0}

    def slow_down(self, key: str, *, at_most_every_s: float = 1.0) -> float:
        """Halve the rate of ``key``, down to a sixteenth; returns the share of the full rate that is left.

        It recovers by itself, a tenth of the full rate a minute.  Calls within ``at_most_every_s`` of one that halved do
        nothing: a storm reaches all workers at once.  Acts on limits of up to a minute, where the key has any.
        """
        with TryingTo(f"slow {key} down", LimiterUnavailable):
            return float(SLOW_DOWN(self._client, keys_of(key), int(at_most_every_s * 1e6)))

    def _ask(self, limits: Limits, at_most_wait_s: float, permits: int) -> list[str]:
        keys = [EPOCH]
        said: list[str | int] = [self._epoch, uuid.uuid4().hex, round(at_most_wait_s * 1e6), self._reserved_ahead_us]
        said += [permits, int(self._rebuild is not None)]
        for key, of_key in limits.items():
            keys += keys_of(key)
            said += [self._counts.get(key, 0), len(of_key)]
            for limit in of_key:
                said += [limit.permits, limit.period_us]
        with TryingTo(f"reserve a slot for {', '.join(limits)}", LimiterUnavailable):
            answer: list[str] = RESERVE(self._client, keys, *said)
        return answer

    def _read(
        self, keys: list[str], answer: list[str], permits: int, asked_at: float, received_at: float
    ) -> Slot | NotBefore:
        slower_s = self._slower_than_usual(received_at - asked_at)
        if answer[0] == "wait":
            self._epoch, self._reserved_ahead_us = answer[4], int(answer[5])
            key = keys[int(answer[2]) - 1]
            return NotBefore(int(answer[1]) / 1e6, key, *_why(answer[3]))
        self._epoch, self._reserved_ahead_us = answer[3], int(answer[4])
        if self._rebuild is not None:
            self._counts.update(zip(keys, map(int, answer[6::2]), strict=True))
        go_in_s = int(answer[1]) / 1e6
        # An answer that took longer than usual may be that much older.
        late_s = max(_SHORTEST_GRACE_S, int(answer[2]) * _LATE_SHARE / 1e6 or 1.0) - slower_s
        return Slot(go_in_s, late_s, permits, received_at + go_in_s, dict(zip(keys, answer[5::2], strict=True)))

    def _slower_than_usual(self, round_trip_s: float) -> float:
        """By how much an answer took longer than answers take.

        What is usual follows: after a failover to a host that is further away, no slot would ever be on time again.
        """
        usual_s = round_trip_s if self._usual_s is None else self._usual_s
        self._usual_s = min(round_trip_s, usual_s + 0.1 * (round_trip_s - usual_s))
        return round_trip_s - min(round_trip_s, usual_s)

    def _put_together_again(
        self, key: str, limit: Limit, limits: Sequence[Limit], epoch: str, give_up_at: float
    ) -> bool:
        assert self._rebuild is not None
        return rebuild_key(
            self._client,
            key,
            limit,
            permits=max(limit.permits for limit in limits),
            count=self._counts.get(key, 0),
            epoch=epoch,
            rebuild=self._rebuild,
            wait_s=max(0.0, give_up_at - time.monotonic()),
        )

    def _give_back_if_possible(self, slot: Slot) -> None:
        try:
            self.give_back(slot)
        except LocksError as error:
            # It only costs its turn; what stopped the wait matters more.
            logger.debug("%s", error)


def _check(limits: Limits, at_most_wait_s: float, permits: int) -> None:
    if not limits:
        raise BadLimit("no key was given: say what is limited, as {'email:provider:default': [Limit.parse('14/s')]}")
    if not 0 <= at_most_wait_s <= LONGEST_WAIT_US / 1e6:
        raise BadLimit(
            f"at_most_wait_s={at_most_wait_s}: give 0 to {LONGEST_WAIT_US // 1_000_000} seconds; snooze for more"
        )
    if not 1 <= permits <= _MAX_PERMITS:
        raise BadLimit(f"permits={permits}: give 1 to {_MAX_PERMITS}")
    for key, of_key in limits.items():
        for limit in of_key:
            if permits > limit.permits:
                raise BadLimit(f"{permits} permits at once never fit into {limit} of {key}: ask for fewer")


def _why(said: str) -> tuple[Limit | None, str]:
    if said.startswith("paused:"):
        return None, f"paused: {said.removeprefix('paused:')}"
    if said == "flushed":
        return None, "Redis lost its data; slots given out before may still be used"
    permits, period_us = map(int, said.split(":"))
    limit = Limit(permits, period_us // 1_000_000)
    return limit, str(limit)
