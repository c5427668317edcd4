"""The circuit breaker: what opens it, who tries, what closes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from locks import LockUnavailable, connect
from locks.breaker import BREAKER_PREFIX, Breaker, Call, Refused
from stack.private import Servers
from tests.waiting import wait_until


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    client = connect(redis_url, owner="test")
    yield client
    client.close()


def breaker(client: redis.Redis, **options: Any) -> Breaker:
    return Breaker(client, ["shop", 7], **({"in_a_row": 3, "open_s": 30.0} | options))


def call(one: Breaker) -> Call:
    answer = one.allow()
    assert isinstance(answer, Call), answer
    return answer


def refusal(one: Breaker) -> Refused:
    answer = one.allow()
    assert isinstance(answer, Refused), answer
    return answer


def fail(one: Breaker, times: int) -> None:
    for _ in range(times):
        one.record(call(one), ok=False, why="HTTP 503")


def test_failures_in_a_row_open_it_for_everybody(client: redis.Redis, redis_url: str) -> None:
    """A success in between starts the count again; the third in a row stops all workers, and says why."""
    one = breaker(client)
    fail(one, 2)
    one.record(call(one), ok=True)
    fail(one, 2)
    call(one)
    fail(one, 1)
    refused = refusal(breaker(connect(redis_url)))
    assert refused.why == "HTTP 503"
    assert 29 < refused.wait_s <= 30
    assert one.show().state == "open"


def test_a_share_of_failures_opens_it_too(client: redis.Redis) -> None:
    """Every second call fails, never two in a row: open once there were enough calls to judge."""
    one = breaker(client, at_least=10)
    for n in range(9):
        one.record(call(one), ok=n % 2 == 0)
    assert one.show().state == "closed"
    one.record(call(one), ok=False)
    assert one.show().state == "open"


def test_what_is_older_than_the_window_does_not_count(client: redis.Redis) -> None:
    """Failures of earlier are forgotten."""
    one = breaker(client, in_a_row=100, at_least=4, window_s=0.2, open_s=30.0)
    for n in range(3):
        one.record(call(one), ok=n % 2 == 0)
    newest = max(int(name[4:]) for name in map(str, client.hkeys(_key(client))) if name.startswith("bad:"))
    wait_until(lambda: client.time()[0] * 10**6 + client.time()[1] > newest * 20_000 + 250_000)
    for n in range(3, 6):
        one.record(call(one), ok=n % 2 == 0)
    assert one.show().state == "closed"


def _key(client: redis.Redis) -> str:
    return str(next(client.scan_iter(BREAKER_PREFIX + "*")))


def test_when_the_time_is_over_one_tries_and_the_others_wait(client: redis.Redis) -> None:
    """Half-open lets one call through; its success closes the breaker."""
    one = breaker(client, open_s=0.2)
    fail(one, 3)
    wait_until(lambda: one.show().state == "half-open", 5)
    probe = call(one)
    assert probe.probe
    refusal(one)
    one.record(probe, ok=True)
    assert not call(one).probe
    assert one.show().state == "closed"


def test_a_probe_that_fails_opens_it_for_twice_as_long(client: redis.Redis) -> None:
    """Each failing probe doubles the time, up to the longest."""
    one = breaker(client, open_s=0.2, longest_open_s=0.5)
    fail(one, 3)
    waits = []
    for _ in range(3):
        wait_until(lambda: one.show().state == "half-open", 5)
        one.record(call(one), ok=False, why="again")
        waits.append(one.show().wait_s)
    assert waits == pytest.approx([0.4, 0.5, 0.5], abs=0.15)


def test_a_prober_that_dies_makes_room_for_the_next(client: redis.Redis) -> None:
    """Its outcome never came: after probe_s another one probes, and what the first says late is ignored."""
    one = breaker(client, open_s=0.1, probe_s=0.2)
    fail(one, 3)
    wait_until(lambda: one.show().state == "half-open", 5)
    dead = call(one)
    wait_until(lambda: isinstance(one.allow(), Call), 5)
    one.record(dead, ok=True)
    assert one.show().state != "closed"


def test_answers_to_calls_from_before_it_opened_change_nothing(client: redis.Redis) -> None:
    """A late success does not close it, a late failure does not keep it open longer."""
    one = breaker(client)
    early, late = call(one), call(one)
    fail(one, 3)
    before = one.show().wait_s
    one.record(early, ok=True)
    one.record(late, ok=False)
    assert one.show().state == "open"
    assert one.show().wait_s <= before


def test_failures_of_calls_from_before_do_not_count_after_it_closed_again(client: redis.Redis) -> None:
    """The answers of the bad time, coming in late, do not open it anew."""
    one = breaker(client, in_a_row=1, open_s=0.1)
    late = call(one)
    fail(one, 1)
    wait_until(lambda: one.show().state == "half-open", 5)
    one.record(call(one), ok=True)
    one.record(late, ok=False)
    assert one.show().state == "closed"


def test_it_does_not_stay_open_for_longer_because_redis_clock_went_back(client: redis.Redis) -> None:
    """After a failover to a host an hour behind, it opens within its longest time."""
    one = breaker(client, longest_open_s=60.0)
    fail(one, 3)
    client.hincrby(_key(client), "until", 3600 * 10**6)
    assert refusal(one).wait_s <= 60


def test_everything_expires(client: redis.Redis) -> None:
    """Open or closed, no key stays for ever."""
    one = breaker(client)
    one.record(call(one), ok=True)
    assert client.ttl(_key(client)) > 0
    fail(one, 3)
    assert client.ttl(_key(client)) > 0


def test_redis_away_is_said(servers: Servers, client: redis.Redis) -> None:
    """LockUnavailable: whether to call then is the caller's decision."""
    one = breaker(client)
    allowed = call(one)
    servers.valkey.kill()
    for method in (one.allow, one.show, lambda: one.record(allowed, ok=True)):
        with pytest.raises(LockUnavailable):
            method()


def test_a_probe_that_was_not_made_may_be_made_by_another(client: redis.Redis) -> None:
    """At once, not after ``probe_s``; a call that was no probe, or somebody else's, takes nothing away."""
    one = breaker(client, open_s=0.05)
    before = call(one)
    one.give_back(before)
    fail(one, 3)
    wait_until(lambda: one.show().state == "half-open")
    probe = call(one)
    assert probe.probe
    refusal(one)
    one.give_back(before)
    one.give_back(Call(probe.generation, "somebody's", probe=True))
    refusal(one)
    one.give_back(probe)
    again = call(one)
    assert again.probe
    one.record(again, ok=True)
    assert one.show().state == "closed"
