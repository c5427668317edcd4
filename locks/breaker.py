"""A circuit breaker that all workers share: after too many failures nobody calls, then one tries."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import redis

from .breaker_scripts import ALLOW, GIVE_BACK, RECORD, SHOW
from .client import TryingTo
from .keys import Json, canonical_json, digest_of

BREAKER_PREFIX = "holdfast:breaker:"


@dataclass(frozen=True, slots=True)
class Call:
    """Permission to call; give it back with the outcome.  ``probe``: the one call that decides whether the rest may."""

    generation: str
    token: str
    probe: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """Nobody calls for ``wait_s`` seconds; ``why`` is what the last failure said."""

    wait_s: float
    why: str


@dataclass(frozen=True, slots=True)
class BreakerState:
    """``state`` is ``closed`` (calls go through), ``open`` (none does) or ``half-open`` (one may try)."""

    state: str
    wait_s: float
    why: str
    failures_in_a_row: int


class Breaker:
    """The breaker called ``name``, any JSON value.

    ``in_a_row``   so many failures one after another open it
    ``share``      or this share of the calls of the last ``window_s`` seconds, once there were ``at_least``
    ``open_s``     how long it stays open; doubled each time the probe fails, up to ``longest_open_s``
    ``probe_s``    after which another one may probe if the first never told what became of it

    All users of a name give the same numbers.  Goes by Redis' clock.  Every method raises `LockUnavailable` when Redis is
    away: whether to call then is the caller's decision.  For example::

        match breaker.allow():
            case Refused(wait_s=wait_s):
                raise Snooze(delay_s=wait_s)
            case Call() as call:
                answer = send()
                breaker.record(call, ok=answer.status < 500, why=f"HTTP {answer.status}")
    """

    def __init__(
        self,
        client: redis.Redis,
        name: Json,
        *,
        in_a_row: int = 5,
        share: float = 0.5,
        at_least: int = 20,
        window_s: float = 60.0,
        open_s: float = 10.0,
        longest_open_s: float = 300.0,
        probe_s: float = 60.0,
    ) -> None:
        if in_a_row < 1 or at_least < 1 or not 0 < share <= 1 or not 0 < open_s <= longest_open_s:
            raise ValueError(
                f"Breaker(in_a_row={in_a_row}, share={share}, at_least={at_least}, open_s={open_s}): counts from 1, "
                f"a share above 0 up to 1, and times above 0 up to longest_open_s={longest_open_s}"
            )
        self.name = canonical_json(name)
        self._client = client
        self._key = BREAKER_PREFIX + digest_of(self.name)
        times = [int(seconds * 1e6) for seconds in (window_s, open_s, longest_open_s, probe_s)]
        self._rule: list[str | int] = [in_a_row, repr(share), at_least, *times]

    def allow(self) -> Call | Refused:
        """Whether a call may be made now."""
        token = secrets.token_hex(16)
        with TryingTo(f"ask breaker {self.name}"):
            answer = ALLOW(self._client, [self._key], *self._rule, token)
        if answer[0] == "no":
            return Refused(int(answer[1]) / 1e6, answer[2])
        return Call(answer[1], token, answer[0] == "probe")

    def record(self, call: Call, *, ok: bool, why: str = "") -> None:
        """Tell what became of a call.  What was allowed before the breaker last opened or closed changes nothing any more."""
        with TryingTo(f"tell breaker {self.name}"):
            RECORD(self._client, [self._key], *self._rule, call.generation, call.token, int(ok), why, self.name)

    def give_back(self, call: Call) -> None:
        """The call was not made after all.  If it was to be the probe, another one may be, without waiting ``probe_s``."""
        if call.probe:
            with TryingTo(f"give a probe back to breaker {self.name}"):
                GIVE_BACK(self._client, [self._key], *self._rule, call.generation, call.token)

    def show(self) -> BreakerState:
        """How it stands."""
        with TryingTo(f"look at breaker {self.name}"):
            state, wait_us, why, row = SHOW(self._client, [self._key], *self._rule)
        return BreakerState(state, int(wait_us) / 1e6, why, int(row))
