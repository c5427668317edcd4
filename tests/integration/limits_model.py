"""The limiter's rule, written down as it is defined: slow, whole history, no intervals.  And a clock that a test sets."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest
import redis

from locks import limit_scripts, limit_steering
from locks.limits import Limit
from locks.scripts import Script

CLOCK_KEY = "test:clock"
_TEST_CLOCK = f"local function clock() return tonumber(redis.call('GET', '{CLOCK_KEY}')) end\n"


def use_test_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every script of the limiter take the time from a key."""
    scripts = ["PAUSE", "RESUME", "PAUSED", "SLOW_DOWN", "GIVE_BACK"]
    for name, module in [("RESERVE", limit_scripts), *((name, limit_steering) for name in scripts)]:
        source = getattr(module, name).source
        assert source.startswith(limit_scripts.CLOCK)
        monkeypatch.setattr(f"locks.limits.{name}", Script(source.replace(limit_scripts.CLOCK, _TEST_CLOCK)))


def set_clock(client: redis.Redis, us: int) -> None:
    """Make it ``us`` microseconds since 1970."""
    client.set(CLOCK_KEY, us)


@dataclass
class ModelKey:
    """All that ever went through a key, or will."""

    permits: list[int] = field(default_factory=list)
    paused_until: int = 0
    rate: float = 1.0
    rate_at: int = 0

    def rate_now(self, now: int) -> float:
        return min(1.0, self.rate + (now - self.rate_at) / 600_000_000)

    def gap(self, limit: Limit, limits: Sequence[Limit], now: int) -> int | None:
        full, rate = (limit.period_us + 1) / limit.permits, self.rate_now(now)
        if limit.period_s <= 60:
            return math.ceil(full / rate) if rate < 1 else math.ceil(full * 0.9)
        if rate < 1 and all(one.period_s > 60 for one in limits):
            return min(math.ceil(full / rate), 60_000_000)
        return None

    def allows(self, at: int, now: int, n: int, limits: Sequence[Limit]) -> bool:
        """Whether ``n`` permits may go at ``at``."""
        if at < self.paused_until:
            return False
        groups = sorted(Counter(self.permits).items())
        past = [group for group in groups if group[0] <= now]
        for limit in limits:
            period = limit.period_us
            for start in {*self.permits, at - period, at}:
                if start <= at <= start + period:
                    inside = sum(start <= one <= start + period for one in self.permits)
                    if inside + n > limit.permits:
                        return False
            gap = self.gap(limit, limits, now)
            if gap is None:
                continue
            for when, together in past[-1:] + [group for group in groups if group[0] > now]:
                if (when <= at and at - when < together * gap) or (when > at and when - at < n * gap):
                    return False
        return True

    def ends(self, now: int, n: int, limits: Sequence[Limit]) -> set[int]:
        """Every moment at which something that was forbidden may become allowed."""
        groups = Counter(self.permits)
        found = {self.paused_until}
        for limit in limits:
            found |= {one + limit.period_us + 1 for one in self.permits}
            gap = self.gap(limit, limits, now)
            if gap is not None:
                found |= {when + together * gap for when, together in groups.items()}
        return found


class Model:
    """Several keys."""

    def __init__(self) -> None:
        self.keys: dict[str, ModelKey] = {}

    def key(self, name: str) -> ModelKey:
        return self.keys.setdefault(name, ModelKey())

    def wait_us(self, limits: Mapping[str, Sequence[Limit]], now: int, n: int) -> int:
        """How long ``n`` permits have to wait at least."""
        ends = {0}
        for name, of_key in limits.items():
            ends |= {end - now for end in self.key(name).ends(now, n, of_key) if end > now}
        return next(
            wait
            for wait in sorted(ends)
            if all(self.key(name).allows(now + wait, now, n, of_key) for name, of_key in limits.items())
        )

    def grant(self, limits: Mapping[str, Sequence[Limit]], at: int, n: int) -> None:
        for name, of_key in limits.items():
            if of_key:
                self.key(name).permits += [at] * n

    def slow_down(self, name: str, now: int) -> None:
        key = self.key(name)
        key.rate, key.rate_at = max(1 / 16, key.rate_now(now) / 2), now
