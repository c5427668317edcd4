"""Places shared by all workers: never more holders than places, and the dead drop out."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Iterator

import pytest
import redis

from locks import LockUnavailable, connect
from locks.slots import SLOTS_PREFIX, SharedSlots
from stack.private import Servers
from tests.waiting import wait_until

NAME = ["shop", 7]


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    client = connect(redis_url, owner="test")
    yield client
    client.close()


def places(client: redis.Redis, limit: int = 2, ttl_s: float = 10) -> SharedSlots:
    return SharedSlots(client, NAME, limit=limit, ttl_s=ttl_s, owner="sync0@web1")


def test_there_are_so_many_places_and_no_more(client: redis.Redis) -> None:
    """A third holder of two places is refused until one is released, and operators see who holds them."""
    first, second = places(client).take(), places(client).take()
    assert first is not None and second is not None
    assert places(client).take() is None
    assert [(holder.owner, holder.name) for holder in places(client).holders()] == [("sync0@web1", '["shop",7]')] * 2
    assert first.release()
    assert not first.release()
    assert places(client).take() is not None
    assert places(client).take() is None


def test_a_holder_that_died_drops_out(client: redis.Redis) -> None:
    """Neither renewed nor released: its place is free after the lease, and it cannot renew any more."""
    dead, alive = places(client, ttl_s=0.3).take(), places(client, ttl_s=10).take()
    assert dead is not None and alive is not None
    wait_until(lambda: places(client).take() is not None, 5)
    assert not dead.renew()
    assert dead.valid_until == 0
    assert alive.renew()


def test_renewing_keeps_a_place(client: redis.Redis) -> None:
    """A renewed lease outlives its first time to live."""
    slots = places(client, limit=1, ttl_s=0.4)
    place = slots.take()
    assert place is not None
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        assert place.renew()
        assert slots.take() is None
        time.sleep(0.05)


def test_one_who_waits_is_woken_by_a_release(
    client: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting ends with the release, and not with the next look."""
    monkeypatch.setattr("locks.slots._LONGEST_NAP_S", 0.9)
    place = places(client, limit=1).take()
    assert place is not None
    timer = threading.Timer(0.05, place.release)
    waiter = places(connect(redis_url), limit=1)
    timer.start()
    started = time.monotonic()
    assert waiter.take(wait_s=8) is not None
    assert time.monotonic() - started < 0.4
    timer.join()


def test_a_lost_answer_does_not_cost_a_second_place(client: redis.Redis) -> None:
    """Asked again with the same text, it is the same holding."""
    slots = places(client, limit=1)
    place = slots.take()
    assert place is not None
    assert place.try_take()
    assert len(slots.holders()) == 1


def test_a_lease_from_before_the_clock_went_back_ends_all_the_same(client: redis.Redis) -> None:
    """After a failover to a host an hour behind, a dead holder blocks for minutes and not for an hour."""
    slots = places(client, limit=1)
    assert slots.take() is not None
    key = next(client.scan_iter(SLOTS_PREFIX + "*"))
    (member,) = client.zrange(key, 0, -1)
    client.zincrby(key, 3600e6, str(member))
    assert slots.take() is None
    (holder,) = slots.holders()
    assert holder.ttl_s is not None and holder.ttl_s <= 600


def _count_holders(url: str, inside: str, worst: str, turns: int) -> None:
    client = connect(url)
    slots = SharedSlots(client, NAME, limit=3, ttl_s=10, owner="hammer")
    for _ in range(turns):
        place = slots.take(wait_s=20)
        assert place is not None
        now = client.incr(inside)
        client.zadd(worst, {"worst": now}, gt=True)
        client.decr(inside)
        assert place.release()


def test_many_processes_never_hold_more_than_there_are(client: redis.Redis, redis_url: str) -> None:
    """Six processes, three places, forty turns each: three at once, never four."""
    spawn = multiprocessing.get_context("fork")
    children = [spawn.Process(target=_count_holders, args=(redis_url, "inside", "worst", 40)) for _ in range(6)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * 6
    assert client.zscore("worst", "worst") == 3
    assert places(client).holders() == []


def test_redis_away_is_said(servers: Servers, client: redis.Redis) -> None:
    """LockUnavailable from each method."""
    slots = places(client)
    place = slots.take()
    assert place is not None
    servers.valkey.kill()
    for method in (slots.take, slots.holders, place.renew, place.release):
        with pytest.raises(LockUnavailable):
            method()
