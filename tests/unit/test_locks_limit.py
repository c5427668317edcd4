"""What is a limit, what is a key, and what the limiter refuses before it asks Redis."""

from __future__ import annotations

import pytest
import redis

from locks import BadLimit
from locks.limit_keys import keys_of
from locks.limits import Limit, RateLimiter

KEY = "email:provider:default"
NOWHERE = redis.Redis(port=1)


@pytest.mark.parametrize(
    ("text", "permits", "period_s", "shown"),
    [
        ("14/s", 14, 1, "14/s"),
        ("14/sec", 14, 1, "14/s"),
        (" 14 / second ", 14, 1, "14/s"),
        ("1/2s", 1, 2, "1/2s"),
        ("100/10s", 100, 10, "100/10s"),
        ("50/min", 50, 60, "50/min"),
        ("50/5minutes", 50, 300, "50/5min"),
        ("3000/h", 3000, 3600, "3000/h"),
        ("3000/hour", 3000, 3600, "3000/h"),
        ("50000/day", 50_000, 86_400, "50000/day"),
        ("7/7days", 7, 604_800, "7/7day"),
        ("60/60s", 60, 60, "60/min"),
        ("1/24h", 1, 86_400, "1/day"),
    ],
)
def test_a_limit_says_how_many_in_which_time(text: str, permits: int, period_s: int, shown: str) -> None:
    """Read, shown in its shortest form, and read again it is the same."""
    limit = Limit.parse(text)
    assert (limit.permits, limit.period_s, str(limit)) == (permits, period_s, shown)
    assert Limit.parse(str(limit)) == limit


@pytest.mark.parametrize(
    "text",
    [
        "",
        "14",
        "/s",
        "14/",
        "14/fortnight",
        "0.5/s",
        "-1/s",
        "0/s",
        "14/0s",
        "1/32days",
        "2000000/s",
        "14/s,50/min",
        "14/m",
        14,
    ],
)
def test_what_is_no_limit_is_refused_with_an_example(text: str) -> None:
    """The message says what to write."""
    with pytest.raises(BadLimit, match=r"say how many in which time|a limit (of|over) .* give"):
        Limit.parse(text)


@pytest.mark.parametrize("key", ["", "a\nb", "x" * 401, None])
def test_a_key_is_text_that_operators_can_read(key: str) -> None:
    """Refused before Redis hears of it."""
    with pytest.raises(BadLimit, match="is no key for limits"):
        keys_of(key)


def test_different_keys_never_share_a_key_of_redis() -> None:
    """Whatever the keys are called."""
    names = ["a", "past:a", "state:a", "ahead:a", "a:past"]
    assert len({found for name in names for found in keys_of(name)}) == 3 * len(names)


@pytest.mark.parametrize(
    ("limits", "at_most_wait_s", "permits", "message"),
    [
        ({}, 1, 1, "no key was given"),
        ({KEY: [Limit(5, 1)]}, -1, 1, "at_most_wait_s=-1"),
        ({KEY: [Limit(5, 1)]}, 601, 1, "snooze for more"),
        ({KEY: [Limit(5, 1)]}, 1, 0, "permits=0"),
        ({KEY: [Limit(5, 1)]}, 1, 6, "never fit into 5/s"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(
    limits: dict[str, list[Limit]], at_most_wait_s: float, permits: int, message: str
) -> None:
    """Before Redis is asked."""
    with pytest.raises(BadLimit, match=message):
        RateLimiter(NOWHERE).reserve(limits, at_most_wait_s=at_most_wait_s, permits=permits)


@pytest.mark.parametrize("for_s", [0, -1, float("nan"), 1e9])
def test_a_pause_has_a_length(for_s: float) -> None:
    """Neither none nor for ever."""
    with pytest.raises(BadLimit, match="a pause of"):
        RateLimiter(NOWHERE).pause(KEY, for_s, "x")
