"""The keeper on a real server: it keeps the lock while the work runs, and tells the work when the lock is lost."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import redis

from locks import Keeper, LockHeld, LockLost, LockUnavailable, TokenLock, connect, held, lock_key
from stack.private import Servers
from tests.waiting import wait_until

NAME = ["sync", 7]


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A client as the project builds it."""
    client = connect(redis_url, owner="test")
    yield client
    client.close()


def test_a_held_lock_outlives_its_time_to_live(client: redis.Redis) -> None:
    """While the block runs the lock is extended; afterwards it is free."""
    with held(client, NAME, ttl_s=0.6, owner="me") as keeper:
        started = time.monotonic()
        while time.monotonic() - started < 1.5:
            keeper.check()
            assert not TokenLock(client, NAME, 1, "other").try_acquire()
            time.sleep(0.05)
    assert TokenLock(client, NAME, 1, "other").try_acquire()


def test_a_held_lock_refuses_others_and_names_the_holder(client: redis.Redis) -> None:
    """LockHeld carries who holds it and for how long."""
    first = held(client, NAME, ttl_s=5, owner="the first")
    second = held(client, NAME, ttl_s=5, owner="the second")
    with first, pytest.raises(LockHeld) as caught, second:
        pytest.fail("two holders")
    assert caught.value.owner == "the first"
    assert caught.value.ttl_s is not None and 0 < caught.value.ttl_s <= 5


take_away: dict[str, Callable[[redis.Redis, str], object]] = {
    "deleted": lambda client, key: client.delete(key),
    "taken": lambda client, key: client.set(key, "somebody else's"),
    "flushed": lambda client, key: client.flushall(),
}


@pytest.mark.parametrize("how", take_away)
def test_a_lock_that_is_gone_is_told_to_the_work(client: redis.Redis, how: str) -> None:
    """Whoever deletes, takes or flushes the key: the work hears within a third of the time to live."""
    told: list[str] = []

    def work() -> None:
        with held(client, NAME, ttl_s=0.9, owner="me", on_lost=told.append) as keeper:
            take_away[how](client, lock_key(NAME))
            wait_until(lambda: keeper.lost, timeout_s=0.9)
            keeper.check()

    with pytest.raises(LockLost, match="deleted, or expired"):
        work()
    assert len(told) == 1
    assert client.exists(lock_key(NAME)) == (how == "taken")


def test_a_lock_lost_unnoticed_is_an_error_at_the_end(client: redis.Redis) -> None:
    """Work that never asks still does not end as if it had held the lock all the time."""
    with pytest.raises(LockLost), held(client, NAME, ttl_s=30, owner="me"):
        client.delete(lock_key(NAME))


@pytest.mark.parametrize("how", ["hung", "killed"])
def test_without_redis_the_lock_is_lost_when_its_time_is_up(client: redis.Redis, servers: Servers, how: str) -> None:
    """Redis hung or dead: the work may go on for the time to live by its own clock, and not longer."""
    lock = TokenLock(client, NAME, 2, "me")
    assert lock.acquire()
    told = threading.Event()
    keeper = Keeper(lock, on_lost=lambda reason: told.set())
    keeper.start()
    servers.valkey.freeze() if how == "hung" else servers.valkey.kill()
    try:
        away_since = time.monotonic()
        keeper.check()
        wait_until(lambda: keeper.lost, timeout_s=5)
        lost_after = time.monotonic() - away_since
        assert 1.0 < lost_after <= 2.1
        with pytest.raises(LockLost, match="could not be extended within its 2 s"):
            keeper.check()
        assert told.wait(2)
    finally:
        if how == "hung":
            servers.valkey.thaw()
    keeper.stop()


def test_a_short_outage_does_not_lose_the_lock(client: redis.Redis, servers: Servers) -> None:
    """Redis away for less than the time to live: the keeper goes on extending."""
    with held(client, NAME, ttl_s=6, owner="me") as keeper:
        before = keeper_valid_until(keeper)
        servers.valkey.freeze()
        try:
            time.sleep(2.5)
        finally:
            servers.valkey.thaw()
        wait_until(lambda: keeper_valid_until(keeper) > before + 2)
        keeper.check()


def keeper_valid_until(keeper: Keeper) -> float:
    return keeper._lock.valid_until


def test_a_keeper_that_dies_counts_as_a_loss(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the thread raises, the work hears it; it does not go on in the belief that somebody extends."""
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    lock = TokenLock(client, NAME, 3, "me")
    lock.acquire()
    monkeypatch.setattr(lock, "extend", lambda: 1 / 0)
    told: list[str] = []
    keeper = Keeper(lock, on_lost=told.append)
    keeper.start()
    wait_until(lambda: keeper.lost, timeout_s=2)
    with pytest.raises(LockLost, match="died of ZeroDivisionError"):
        keeper.check()
    wait_until(lambda: told)
    keeper.stop()


def test_a_forked_child_does_not_believe_that_it_holds_the_lock(client: redis.Redis) -> None:
    """The keeper's thread does not survive a fork, and the child's copy says so."""
    with held(client, NAME, ttl_s=30, owner="me") as keeper:
        child = os.fork()
        if child == 0:
            os._exit(7 if keeper.lost else 0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        keeper.check()


def test_the_works_own_error_is_never_replaced(client: redis.Redis, servers: Servers) -> None:
    """Work that fails while Redis is away fails with its own error; that the release failed is a note on it."""

    def work() -> None:
        with held(client, NAME, ttl_s=30, owner="me"):
            servers.valkey.kill()
            raise ArithmeticError("the work's own")

    with pytest.raises(ArithmeticError, match="the work's own") as caught:
        work()
    assert any("cannot release lock" in note for note in caught.value.__notes__)


def test_a_release_that_fails_is_reported(client: redis.Redis, servers: Servers) -> None:
    """Work that succeeds while Redis goes away ends with LockUnavailable, which says when the lock frees itself."""
    mine = held(client, NAME, ttl_s=30, owner="me")
    with pytest.raises(LockUnavailable, match="it frees itself within 30 s"), mine:
        servers.valkey.kill()


def test_no_thread_is_left_behind(client: redis.Redis) -> None:
    """The keeper ends with its block."""
    with held(client, NAME, ttl_s=30, owner="me"):
        assert any(thread.name.startswith("lock-keeper") for thread in threading.enumerate())
    assert not any(thread.name.startswith("lock-keeper") for thread in threading.enumerate())
