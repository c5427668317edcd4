"""Rate limits on a real server: what is granted when, and what stops it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import chain, pairwise, repeat
from typing import Any

import pytest
import redis

from locks import BadLimit, LimiterUnavailable, connect
from locks.limit_keys import EPOCH, keys_of
from locks.limit_list import limited_key
from locks.limits import Limit, NotBefore, RateLimiter, Slot
from stack.private import Servers
from tests.waiting import wait_until

KEY = "email:provider:default"


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A client as the project builds it."""
    client = connect(redis_url, owner="test")
    yield client
    client.close()


@pytest.fixture
def limiter(client: redis.Redis) -> RateLimiter:
    return RateLimiter(client)


def slot(answer: Slot | NotBefore) -> Slot:
    assert isinstance(answer, Slot), answer
    return answer


def refusal(answer: Slot | NotBefore) -> NotBefore:
    assert isinstance(answer, NotBefore), answer
    return answer


def rates(*texts: str, key: str = KEY) -> dict[str, list[Limit]]:
    return {key: [Limit.parse(text) for text in texts]}


def test_slots_follow_each_other_at_the_limits_pace(limiter: RateLimiter) -> None:
    """The first goes at once; each further one a fifth of ten seconds later, less the tenth that lets lost time be caught up."""
    slots = [slot(limiter.reserve(rates("5/10s"), at_most_wait_s=30)) for _ in range(5)]
    assert slots[0].go_in_s == 0
    assert [int(b.taken[KEY]) - int(a.taken[KEY]) for a, b in pairwise(slots)] == [1_800_001] * 4


def test_a_slot_that_is_too_far_away_is_not_taken(client: redis.Redis, limiter: RateLimiter) -> None:
    """The refusal says how long and which limit, and changes nothing at any key."""
    both = rates("50/s") | rates("1/h", key="email:domain:example.org")
    slot(limiter.reserve(both, at_most_wait_s=0))
    before = [client.lrange(key, 0, -1) for key in keys_of(KEY)[1:]]
    refused = refusal(limiter.reserve(both, at_most_wait_s=60))
    assert 3595 < refused.wait_s <= 3601
    assert (refused.key, refused.limit) == ("email:domain:example.org", Limit.parse("1/h"))
    assert refused.limited_by == "email:domain:example.org (1/h)"
    assert [client.lrange(key, 0, -1) for key in keys_of(KEY)[1:]] == before


def test_a_slow_key_does_not_hold_up_others_of_a_shared_one(limiter: RateLimiter) -> None:
    """Who waits for a domain's own limit leaves the provider's slots before it to the others."""
    slow = rates("10/s") | rates("1/2s", key="email:domain:slow.example")
    waits = [slot(limiter.reserve(slow, at_most_wait_s=10)).go_in_s for _ in range(2)]
    assert waits[1] > 1.9
    others = [slot(limiter.reserve(rates("10/s"), at_most_wait_s=10)).go_in_s for _ in range(5)]
    assert max(others) < 0.6


def test_all_that_goes_through_a_key_counts_whoever_sent_it_under_which_limits(limiter: RateLimiter) -> None:
    """A caller with a tighter limit sees what others sent under a wider one."""
    for _ in range(5):
        slot(limiter.reserve(rates("1000/s"), at_most_wait_s=1))
    assert refusal(limiter.reserve(rates("5/day"), at_most_wait_s=1)).wait_s > 86000


def test_several_permits_at_once_fit_into_the_limit_or_are_refused_for_good(limiter: RateLimiter) -> None:
    """Three and two of five an hour go at once, another one does not; six never could."""
    slot(limiter.reserve(rates("5/h"), at_most_wait_s=0, permits=3))
    assert refusal(limiter.reserve(rates("5/h"), at_most_wait_s=0, permits=3)).wait_s > 3595
    slot(limiter.reserve(rates("5/h"), at_most_wait_s=0, permits=2))
    refusal(limiter.reserve(rates("5/h"), at_most_wait_s=0))
    with pytest.raises(BadLimit, match="6 permits at once never fit into 5/h"):
        limiter.reserve(rates("5/h"), at_most_wait_s=0, permits=6)


def test_taking_a_slot_waits_for_it_and_never_goes_early(client: redis.Redis, limiter: RateLimiter) -> None:
    """After the wait, Redis' own clock is past the slot."""
    for _ in range(5):
        taken = slot(limiter.take(rates("20/s"), at_most_wait_s=5))
        seconds, microseconds = client.time()
        assert seconds * 1_000_000 + microseconds >= int(taken.taken[KEY])


def test_a_pause_is_never_shortened_and_ends_by_itself(limiter: RateLimiter) -> None:
    """The longer of two pauses holds, whichever comes first; then things go on."""
    assert limiter.pause(KEY, 60, "Retry-After: 60").for_s == pytest.approx(60, abs=0.1)
    kept = limiter.pause(KEY, 0.1, "a moment")
    assert (kept.reason, kept.for_s > 59) == ("Retry-After: 60", True)
    refused = refusal(limiter.reserve(rates("10/s"), at_most_wait_s=1))
    assert refused.wait_s == pytest.approx(60, abs=1)
    assert refused.limited_by == f"{KEY} (paused: Retry-After: 60)"
    assert limiter.resume(KEY) == pytest.approx(60, abs=1)
    limiter.pause(KEY, 0.2, "short")
    started = time.monotonic()
    slot(limiter.take(rates("10/s"), at_most_wait_s=5))
    assert time.monotonic() - started >= 0.19


def test_a_key_without_limits_only_knows_pauses(client: redis.Redis, limiter: RateLimiter) -> None:
    """A connection without a rate is still parked by its Retry-After."""
    for _ in range(3):
        assert slot(limiter.reserve({KEY: []}, at_most_wait_s=0)).go_in_s == 0
    limiter.pause(KEY, 30, "503")
    refusal(limiter.reserve({KEY: []}, at_most_wait_s=0))
    assert set(limiter.paused([KEY, "other"])) == {KEY}


def test_a_slot_whose_key_is_paused_while_it_waits_is_not_used(limiter: RateLimiter) -> None:
    """Workers that already hold a slot are quiet too."""
    slot(limiter.reserve(rates("1/2s"), at_most_wait_s=0))
    held = slot(limiter.reserve(rates("1/2s"), at_most_wait_s=10))

    def sleep(seconds: float) -> None:
        limiter.pause(KEY, 60, "454 throttled")
        time.sleep(seconds)

    assert not limiter.wait(held, sleep=sleep)
    refused = refusal(limiter.take(rates("1/2s"), at_most_wait_s=5))
    assert "454 throttled" in refused.why


def test_a_slot_that_was_slept_through_is_not_used(limiter: RateLimiter) -> None:
    """A worker that wakes late takes the next slot instead of meeting it at the server."""
    slot(limiter.reserve(rates("5/s"), at_most_wait_s=0))
    overslept = slot(limiter.reserve(rates("5/s"), at_most_wait_s=5))
    assert not limiter.wait(overslept, sleep=lambda seconds: time.sleep(seconds + 0.2))
    late = chain([0.2], repeat(0.0))
    taken = slot(limiter.take(rates("5/s"), at_most_wait_s=5, sleep=lambda seconds: time.sleep(seconds + next(late))))
    assert taken.on_time


def test_a_slot_that_was_not_used_in_time_is_free_for_others(limiter: RateLimiter) -> None:
    """A busy machine costs its turn and not the limit: of two an hour, one overslept, two still go."""
    overslept = slot(limiter.reserve(rates("2/h"), at_most_wait_s=0))
    time.sleep(overslept.late_s + 0.05)
    assert not limiter.wait(overslept)
    for _ in range(2):
        slot(limiter.reserve(rates("2/h"), at_most_wait_s=0))
    assert refusal(limiter.reserve(rates("2/h"), at_most_wait_s=0)).limit == Limit.parse("2/h")


def test_a_wait_that_is_stopped_gives_its_slot_back(limiter: RateLimiter) -> None:
    """What the work raises ends the wait, and the next one gets the turn."""
    slot(limiter.reserve(rates("1/10s"), at_most_wait_s=0))

    def stop(_: float) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        limiter.take(rates("1/10s"), at_most_wait_s=60, sleep=stop)
    assert slot(limiter.reserve(rates("1/10s"), at_most_wait_s=60)).go_in_s < 10.1


def gap(limiter: RateLimiter) -> float:
    """Seconds between two slots at one a second."""
    first, second = (int(slot(limiter.reserve(rates("1/s"), at_most_wait_s=99)).taken[KEY]) for _ in range(2))
    return (second - first) / 1e6


def test_slowing_down_halves_the_rate_once_a_second_down_to_a_sixteenth(
    client: redis.Redis, limiter: RateLimiter
) -> None:
    """A storm that every worker hears counts once; resuming gives the full rate back."""
    assert limiter.slow_down(KEY) == 0.5
    assert limiter.slow_down(KEY) == pytest.approx(0.5, abs=0.01)
    assert gap(limiter) == pytest.approx(2, abs=0.05)
    for _ in range(6):
        share = limiter.slow_down(KEY, at_most_every_s=0)
    assert share == 1 / 16
    limiter.resume(KEY)
    client.delete(*keys_of(KEY)[1:])
    assert gap(limiter) == pytest.approx(1, abs=0.05)


def test_everything_expires(client: redis.Redis, limiter: RateLimiter) -> None:
    """No key stays for ever but the one that says whether Redis lost its data."""
    limiter.reserve(rates("10/s", "50000/day"), at_most_wait_s=1)
    limiter.reserve(rates("10/s", "50000/day"), at_most_wait_s=1)
    limiter.pause("paused only", 7200, "x")
    limiter.slow_down("slow only")
    client.delete(keys_of(KEY)[1])
    wait_until(lambda: limited_key(client, KEY).reserved == 0)
    kept = [key for key in client.scan_iter("holdfast:*") if client.ttl(key) == -1]
    assert kept == [EPOCH]
    assert client.ttl(keys_of(KEY)[1]) > 86400
    assert client.ttl(keys_of("paused only")[0]) > 7200


def test_redis_away_is_said_at_once_and_it_goes_on_by_itself(servers: Servers, limiter: RateLimiter) -> None:
    """Down or hung: LimiterUnavailable within two seconds; back: the next slot."""
    limiter.reserve(rates("10/s"), at_most_wait_s=1)
    for trouble, mend in ((servers.valkey.freeze, servers.valkey.thaw), (servers.valkey.kill, servers.valkey.start)):
        trouble()
        try:
            for _ in range(2):
                started = time.monotonic()
                with pytest.raises(LimiterUnavailable, match="do nothing that is limited until it is back"):
                    limiter.take(rates("10/s"), at_most_wait_s=60)
                assert time.monotonic() - started < 2
        finally:
            mend()
        slot(limiter.take(rates("10/s"), at_most_wait_s=5))


def test_redis_that_moves_further_away_slows_nothing_down_for_long(
    limiter: RateLimiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failover to a far host every answer is slow: that is soon the usual, and slots are on time again."""
    slot(limiter.take(rates("20/s"), at_most_wait_s=5))
    ask = limiter._ask

    def slowly(*args: Any) -> list[str]:
        answer = ask(*args)
        time.sleep(0.1)
        return answer

    monkeypatch.setattr(limiter, "_ask", slowly)
    started = time.monotonic()
    slot(limiter.take(rates("20/s"), at_most_wait_s=30))
    assert time.monotonic() - started < 5


def test_a_primary_that_became_a_replica_is_left(client: redis.Redis, limiter: RateLimiter) -> None:
    """It takes no writes: that is said as Redis being away, and the next try asks the address again."""
    slot(limiter.reserve(rates("10/s"), at_most_wait_s=1))
    connection = client.client_id()
    client.replicaof("127.0.0.1", "1")
    try:
        with pytest.raises(LimiterUnavailable, match="ReadOnly"):
            limiter.reserve(rates("10/s"), at_most_wait_s=1)
    finally:
        client.replicaof("NO", "ONE")
    assert client.client_id() != connection
    slot(limiter.reserve(rates("10/s"), at_most_wait_s=1))
