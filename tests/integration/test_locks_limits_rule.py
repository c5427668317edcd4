"""The limiter's Lua against the rule as it is defined, over random histories with a clock that the test sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pytest
import redis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from locks import connect
from locks.limits import Limit, NotBefore, RateLimiter, Slot
from tests.integration.limits_model import Model, set_clock, use_test_clock

START_US = 1_795_000_000_000_000
LIMITS = {
    "a": [Limit(3, 1), Limit(5, 10)],
    "b": [Limit(1, 1), Limit(4, 120)],
    "c": [Limit(6, 3600)],
}


@dataclass(frozen=True)
class Ask:
    limits: Mapping[str, Sequence[Limit]]
    at_most_wait_s: float
    permits: int


@dataclass(frozen=True)
class Pass:
    us: int


@dataclass(frozen=True)
class Halt:
    key: str
    us: int


@dataclass(frozen=True)
class Slow:
    key: str


@dataclass(frozen=True)
class Return:
    which: int


_some = st.lists(st.sampled_from(sorted(LIMITS)), min_size=1, max_size=3, unique=True)
_asks = st.builds(
    lambda names, firsts, wait, n: Ask({name: LIMITS[name][: firsts or None] for name in names}, wait, n),
    _some,
    st.sampled_from([0, 0, 0, 1]),
    st.sampled_from([0.0, 0.5, 3.0, 30.0, 300.0]),
    st.sampled_from([1, 1, 1, 1, 1, 2, 3]),
)
_steps = st.one_of(
    _asks,
    _asks,
    _asks,
    st.builds(
        Pass, st.one_of(st.integers(1, 2_000_000), st.sampled_from([10, 60, 300, 3600]).map(lambda s: s * 1_000_000))
    ),
    st.builds(Halt, st.sampled_from(sorted(LIMITS)), st.integers(1, 5_000_000)),
    st.builds(Slow, st.sampled_from(sorted(LIMITS))),
    st.builds(Return, st.integers(0, 3)),
)


@pytest.fixture
def client(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[redis.Redis]:
    """A client whose limiter goes by the test's clock."""
    use_test_clock(monkeypatch)
    client = connect(redis_url, owner="test")
    yield client
    client.close()


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)
@given(st.lists(_steps, max_size=40))
def test_every_answer_is_the_rule_s(client: redis.Redis, steps: list[object]) -> None:
    """Slots, refusals and waits are to the microsecond those of the definition, whatever was reserved, paused or given back."""
    client.flushdb()
    limiter, model, now = RateLimiter(client), Model(), START_US
    set_clock(client, now)
    slots: list[Slot] = []
    # So that Redis keeps enough of each key from the start.
    first = limiter.reserve(LIMITS, at_most_wait_s=0)
    assert isinstance(first, Slot)
    model.grant(LIMITS, now, 1)
    for step in steps:
        match step:
            case Pass(us):
                now += us
                set_clock(client, now)
            case Halt(key, us):
                limiter.pause(key, us / 1e6, "test")
                model.key(key).paused_until = max(model.key(key).paused_until, now + us)
            case Slow(key):
                limiter.slow_down(key, at_most_every_s=0)
                model.slow_down(key, now)
            case Return(which) if slots:
                _give_back(limiter, model, slots.pop(which % len(slots)))
            case Ask(limits, at_most_wait_s, n) if all(n <= one.permits for some in limits.values() for one in some):
                expected = model.wait_us(limits, now, n)
                answer = limiter.reserve(limits, at_most_wait_s=at_most_wait_s, permits=n)
                if expected > _us_left(at_most_wait_s):
                    assert isinstance(answer, NotBefore), (answer, expected)
                    assert round(answer.wait_s * 1e6) == expected
                else:
                    assert isinstance(answer, Slot), (answer, expected)
                    assert round(answer.go_in_s * 1e6) == expected
                    model.grant(limits, now + expected, n)
                    slots.append(answer)


def _us_left(at_most_wait_s: float) -> int:
    return round(at_most_wait_s * 1e6)


def _give_back(limiter: RateLimiter, model: Model, slot: Slot) -> None:
    limiter.give_back(slot)
    for key, at in slot.taken.items():
        for _ in range(slot.permits):
            model.key(key).permits.remove(int(at))
