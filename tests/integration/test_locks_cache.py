"""The shared cache: one computes, the others take what there is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
import redis

from locks import connect
from locks.cache import CACHE_PREFIX, SharedCache
from stack.private import Servers
from tests.waiting import wait_until

NAME = ["stats", "day"]


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    client = connect(redis_url, owner="test")
    yield client
    client.close()


class Query:
    """Something dear: counts how often it is asked."""

    def __init__(self, takes_s: float = 0.0) -> None:
        self.times: list[float] = []
        self._takes_s = takes_s

    def __call__(self) -> dict[str, int]:
        self.times.append(time.monotonic())
        time.sleep(self._takes_s)
        return {"n": len(self.times)}


def test_fifty_readers_cost_one_computation_per_soft_time(redis_url: str) -> None:
    """Two seconds of fifty dashboards that reload all the time: computations no closer together than the soft time."""
    query, answers, soft_s = Query(takes_s=0.1), [], 0.5
    until = time.monotonic() + 2.0

    def read() -> None:
        client = connect(redis_url)
        cache = SharedCache(client, soft_s=soft_s, hard_s=60)
        while time.monotonic() < until:
            started = time.monotonic()
            answers.append((cache.get(NAME, query), time.monotonic() - started))
            time.sleep(0.02)
        client.close()

    threads = [threading.Thread(target=read) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gaps = [after - before for before, after in zip(query.times, query.times[1:], strict=False)]
    assert 2 <= len(query.times) <= 5
    assert min(gaps) >= soft_s
    assert len(answers) > 200
    # An old value while it is computed is some tenths old, never more than a computation late.
    assert max(found.age_s for found, _ in answers) < 2.0


def test_while_one_computes_the_others_get_the_old_value_at_once(client: redis.Redis, redis_url: str) -> None:
    """Nobody waits for a refresh who has something to show."""
    cache = SharedCache(client, soft_s=0.05, hard_s=60)
    assert cache.get(NAME, lambda: "old").value == "old"
    time.sleep(0.06)
    computing, finish = threading.Event(), threading.Event()

    def slow() -> str:
        computing.set()
        assert finish.wait(10)
        return "new"

    refresher = threading.Thread(target=lambda: SharedCache(connect(redis_url), soft_s=0.05, hard_s=60).get(NAME, slow))
    refresher.start()
    assert computing.wait(5)
    started = time.monotonic()
    found = cache.get(NAME, _never)
    assert (found.value, found.age_s > 0.05) == ("old", True)
    assert time.monotonic() - started < 0.5
    finish.set()
    refresher.join()
    assert SharedCache(client, soft_s=60, hard_s=60).get(NAME, _never).value == "new"


def _never() -> str:
    raise AssertionError("computed by the wrong one")


def test_with_nothing_to_show_the_others_wait_for_the_one_that_computes(redis_url: str) -> None:
    """Ten readers of an empty cache: one computation, one value."""
    query, found = Query(takes_s=0.3), []
    barrier = threading.Barrier(10)

    def read() -> None:
        barrier.wait()
        found.append(SharedCache(connect(redis_url), soft_s=60, hard_s=60).get(NAME, query).value)

    threads = [threading.Thread(target=read) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [{"n": 1}] * 10


def test_one_that_dies_while_it_computes_is_replaced(client: redis.Redis) -> None:
    """Its turn runs out, and the next reader computes."""
    cache = SharedCache(client, soft_s=60, hard_s=60, compute_s=0.3)

    def die() -> str:
        # As a kill -9 does: the turn stays taken.
        raise SystemExit

    with pytest.raises(SystemExit):
        cache.get(NAME, die)
    assert cache.get(NAME, lambda: "alive").value == "alive"


def test_a_computation_that_fails_leaves_the_old_value_standing(client: redis.Redis) -> None:
    """Dashboards go on with the last known numbers, and the database in trouble is asked once per compute_s."""
    cache = SharedCache(client, soft_s=0.05, hard_s=60, compute_s=30)
    cache.get(NAME, lambda: "old")
    time.sleep(0.06)
    asked = []

    def broken() -> str:
        asked.append(1)
        raise ConnectionError("database away")

    assert [cache.get(NAME, broken).value for _ in range(5)] == ["old"] * 5
    assert len(asked) == 1


def test_a_computation_that_fails_with_nothing_to_show_is_raised(client: redis.Redis) -> None:
    """The error reaches the reader, and the next one tries at once."""
    cache = SharedCache(client, soft_s=60, hard_s=60)
    with pytest.raises(ZeroDivisionError):
        cache.get(NAME, lambda: 1 / 0)
    started = time.monotonic()
    assert cache.get(NAME, lambda: 5).value == 5
    assert time.monotonic() - started < 5


def test_a_value_is_forgotten_after_its_hard_time_or_when_told(client: redis.Redis) -> None:
    """Nothing older than hard_s is shown, and forget makes it new at once."""
    cache = SharedCache(client, soft_s=0.1, hard_s=0.1)
    cache.get(NAME, lambda: "old")
    wait_until(lambda: not client.exists(*client.scan_iter(CACHE_PREFIX + "*"), "x"))
    keep = SharedCache(client, soft_s=60, hard_s=60)
    assert keep.get(NAME, lambda: "new").value == "new"
    keep.forget(NAME)
    assert keep.get(NAME, lambda: "newer").value == "newer"


def test_one_that_took_too_long_does_not_overwrite_a_newer_value(client: redis.Redis) -> None:
    """Whose turn was taken over writes nothing."""
    cache = SharedCache(client, soft_s=0.05, hard_s=60, compute_s=0.2)

    def overtaken() -> str:
        wait_until(lambda: SharedCache(client, soft_s=60, hard_s=60).get(NAME, lambda: "newer").value == "newer", 5)
        return "late"

    assert cache.get(NAME, overtaken).value == "late"
    assert SharedCache(client, soft_s=60, hard_s=60).get(NAME, _never).value == "newer"


@pytest.mark.parametrize("fault", ["kill", "freeze"])
def test_redis_away_computes_directly(servers: Servers, client: redis.Redis, fault: str) -> None:
    """No cache is no reason to show nothing."""
    cache = SharedCache(client, soft_s=60, hard_s=60)
    cache.get(NAME, lambda: "kept")
    method: Callable[[], None] = getattr(servers.valkey, fault)
    method()
    try:
        assert cache.get(NAME, lambda: "computed").value == "computed"
    finally:
        if fault == "freeze":
            servers.valkey.thaw()


def test_what_is_forgotten_while_it_is_computed_does_not_count(client: redis.Redis, redis_url: str) -> None:
    """A value of before a change is not shown after it, though it was stored after it; other groups stay as they are."""
    ours = SharedCache(client, soft_s=60, hard_s=60, group="ours")
    theirs = SharedCache(client, soft_s=60, hard_s=60, group="theirs")
    theirs.get(["theirs"], lambda: "kept")
    computing, finish = threading.Event(), threading.Event()

    def slow() -> str:
        computing.set()
        assert finish.wait(10)
        return "of before"

    reader = threading.Thread(
        target=lambda: SharedCache(connect(redis_url), soft_s=60, hard_s=60, group="ours").get(NAME, slow)
    )
    reader.start()
    assert computing.wait(5)
    ours.forget_all()
    finish.set()
    reader.join()
    assert ours.get(NAME, lambda: "of after").value == "of after"
    assert ours.get(NAME, lambda: "once more").value == "of after"
    assert theirs.get(["theirs"], lambda: "once more").value == "kept"


def test_what_took_long_rests_long(client: redis.Redis, redis_url: str) -> None:
    """Nine times as long as it took, for every reader; and it is kept for longer than its hard time then."""
    query = Query(takes_s=0.2)
    SharedCache(client, soft_s=0.05, hard_s=0.1, rest_times=9).get(NAME, query)
    time.sleep(0.5)
    found = SharedCache(connect(redis_url), soft_s=0.05, hard_s=0.1, rest_times=9).get(NAME, query)
    # A failing computation would leave the old value, too: so the query is counted.
    assert (found.value, found.cost_s >= 0.2, 0.5 <= found.age_s < 1.8) == ({"n": 1}, True, True)


def test_after_a_failure_the_next_try_is_made_when_it_is_time(client: redis.Redis) -> None:
    """Not by the next reader, and not as late as if the one that failed had died."""
    cache = SharedCache(client, soft_s=0.05, hard_s=60, compute_s=30, retry_s=0.4)
    cache.get(NAME, lambda: "old")
    time.sleep(0.06)
    began = time.monotonic()
    assert cache.get(NAME, lambda: 1 / 0).value == "old"
    assert cache.get(NAME, lambda: "too early").value == "old"
    wait_until(lambda: cache.get(NAME, lambda: "new").value == "new", 5)
    assert time.monotonic() - began >= 0.35
