"""What operators see of locks, and how a flushed Redis shows."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import redis

from locks import TokenLock, connect, list_locks, read_epoch, set_epoch_if_absent
from locks.epoch import EPOCH_KEY


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A client as the project builds it."""
    client = connect(redis_url, owner="operator")
    yield client
    client.close()


def test_held_locks_are_listed_with_owner_name_age_and_ttl(client: redis.Redis) -> None:
    """Every lock that is held is listed, among any number of other keys, and released ones are not."""
    client.mset({f"other:{n}": n for n in range(3000)})
    locks = [TokenLock(client, ["imports", n], 60, f"worker{n}") for n in range(5)]
    for lock in locks:
        lock.acquire()
    locks[0].release()
    listed = list_locks(client)
    assert sorted(lock.holder.name for lock in listed) == [f'["imports",{n}]' for n in range(1, 5)]
    assert sorted(lock.holder.owner for lock in listed) == [f"worker{n}" for n in range(1, 5)]
    assert all(lock.age_s is not None and lock.age_s < 10 and 50 < (lock.holder.ttl_s or 0) <= 60 for lock in listed)
    assert [lock.age_s for lock in listed] == sorted((lock.age_s for lock in listed), reverse=True)  # type: ignore[type-var]


def test_a_foreign_key_under_the_prefix_is_listed_as_such(client: redis.Redis) -> None:
    """A lock that never expires and was not written by us is shown, since it blocks all the same."""
    client.set("holdfast:lock:manual", "set by hand")
    (lock,) = list_locks(client)
    assert "set by hand" in lock.holder.owner
    assert lock.age_s is None and lock.holder.ttl_s is None


def test_an_operators_client_shows_in_client_list(client: redis.Redis) -> None:
    """CLIENT LIST names the owner of a connection."""
    client.ping()
    assert "operator" in {found["name"] for found in client.client_list()}


def test_the_epoch_is_set_once_and_kept(client: redis.Redis) -> None:
    """The first to ask sets it, and everybody after that gets the same."""
    assert read_epoch(client) is None
    epoch = set_epoch_if_absent(client)
    assert set_epoch_if_absent(client, "another") == epoch == read_epoch(client)
    assert client.ttl(EPOCH_KEY) == -1


def test_after_a_flush_the_epoch_is_another(client: redis.Redis) -> None:
    """A flush shows: no epoch, and then a different one."""
    epoch = set_epoch_if_absent(client)
    client.flushall()
    assert read_epoch(client) is None
    assert set_epoch_if_absent(client) != epoch


def test_dispatchers_that_find_the_epoch_gone_together_agree_on_the_new_one(client: redis.Redis) -> None:
    """Many at once set one epoch and all get it."""
    agreed: set[str] = set()
    threads = [threading.Thread(target=lambda: agreed.add(set_epoch_if_absent(client))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert agreed == {read_epoch(client)}
