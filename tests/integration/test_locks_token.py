"""The token lock on a real server: who gets it, who may release and extend it, and when it ends by itself."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Iterator

import pytest
import redis

from locks import LockUnavailable, TokenLock, connect, lock_key
from tests.waiting import wait_until

NAME = ["imports", "flights"]


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A client as the project builds it."""
    client = connect(redis_url, owner="test")
    yield client
    client.close()


def a_lock(client: redis.Redis, owner: str = "me", ttl_s: float = 10) -> TokenLock:
    return TokenLock(client, NAME, ttl_s, owner)


def test_a_second_owner_is_refused_until_the_first_releases(client: redis.Redis) -> None:
    """One holder at a time."""
    mine, theirs = a_lock(client), a_lock(client, "them")
    assert mine.acquire()
    assert not theirs.acquire()
    assert mine.release()
    assert theirs.acquire()


def test_the_key_shows_operators_who_holds_it(client: redis.Redis) -> None:
    """Owner, name, token and time to live are readable by anybody, and gone after the release."""
    lock = a_lock(client, "control0@web1:4711", ttl_s=5)
    assert lock.holder() is None
    lock.acquire()
    holder = a_lock(client, "another").holder()
    assert holder is not None and holder.ttl_s is not None
    assert (holder.owner, holder.name) == ("control0@web1:4711", '["imports","flights"]')
    assert 4 < holder.ttl_s <= 5
    assert len(holder.token) == 32
    lock.release()
    assert lock.holder() is None


def test_a_lock_cannot_be_taken_twice_by_the_same_object(client: redis.Redis) -> None:
    """The lock is not re-entrant, and trying does not cost the holder its lock."""
    lock = a_lock(client)
    assert lock.acquire()
    assert not lock.try_acquire()
    assert lock.release()


def test_release_by_one_who_lost_it_leaves_the_new_holder_alone(client: redis.Redis) -> None:
    """A late release compares the token and deletes nothing."""
    late, current = a_lock(client, "late"), a_lock(client, "current")
    late.acquire()
    client.delete(late.key)
    current.acquire()
    assert late.release() is False
    assert (holder := current.holder()) is not None and holder.owner == "current"


def test_extension_by_one_who_lost_it_does_not_lengthen_the_new_holders_lock(client: redis.Redis) -> None:
    """A late extension compares the token and changes no expiry."""
    late, current = a_lock(client, "late", ttl_s=500), a_lock(client, "current", ttl_s=5)
    late.acquire()
    client.delete(late.key)
    current.acquire()
    assert late.extend() is False
    assert client.pttl(current.key) <= 5000


def test_the_same_owner_is_no_proof_of_holding(client: redis.Redis) -> None:
    """Two holdings by one owner differ by their token."""
    late, current = a_lock(client), a_lock(client)
    late.acquire()
    client.delete(late.key)
    current.acquire()
    assert late.release() is False and late.extend() is False
    assert current.release() is True


def test_a_lock_that_is_not_held_is_neither_released_nor_extended(client: redis.Redis) -> None:
    """Release and extend without an acquire do nothing and say so."""
    lock = a_lock(client)
    assert lock.release() is False and lock.extend() is False
    lock.acquire()
    lock.release()
    assert lock.release() is False and lock.extend() is False


def test_a_holder_that_dies_frees_the_lock_when_its_time_is_up(client: redis.Redis) -> None:
    """A lock that nobody extends ends by itself, and a waiter gets it then."""
    a_lock(client, "dead", ttl_s=0.4).acquire()
    started = time.monotonic()
    assert a_lock(client).acquire(wait_s=5)
    assert 0.3 < time.monotonic() - started < 1.5


def test_an_extension_lasts_the_whole_time_again(client: redis.Redis) -> None:
    """Extend sets the full time to live anew."""
    lock = a_lock(client, ttl_s=5)
    lock.acquire()
    client.pexpire(lock.key, 100)
    before = lock.valid_until
    assert lock.extend()
    assert client.pttl(lock.key) > 4000
    assert lock.valid_until > before


def test_waiting_ends_when_the_time_to_wait_is_over(client: redis.Redis) -> None:
    """A waiter gives up after wait_s."""
    a_lock(client, "holder").acquire()
    started = time.monotonic()
    assert a_lock(client).acquire(wait_s=0.7) is False
    assert 0.65 < time.monotonic() - started < 1.3


def test_a_release_wakes_a_waiter_at_once(client: redis.Redis) -> None:
    """A waiter does not sleep on after the release."""
    holder, waiter = a_lock(client, "holder"), a_lock(client, "waiter")
    holder.acquire()
    got_after: list[float] = []

    def wait() -> None:
        assert waiter.acquire(wait_s=10)
        got_after.append(time.monotonic())

    delays = []
    for _ in range(5):
        thread = threading.Thread(target=wait)
        thread.start()
        wait_until(lambda: client.info("clients")["blocked_clients"] == 1)
        released_at = time.monotonic()
        holder.release()
        thread.join()
        delays.append(got_after.pop() - released_at)
        waiter.release()
        holder.acquire()
    assert sorted(delays)[2] < 0.1


def test_scripts_that_redis_forgot_are_sent_again(client: redis.Redis) -> None:
    """After SCRIPT FLUSH (or a restart) release and extend still work."""
    lock = a_lock(client)
    lock.acquire()
    client.script_flush()
    assert lock.extend()
    client.script_flush()
    assert lock.release()


def test_a_flush_takes_the_lock_and_both_sides_learn_of_it(client: redis.Redis) -> None:
    """After FLUSHALL the old holder can neither extend nor release, and the next one may have it."""
    lock = a_lock(client)
    lock.acquire()
    client.flushall()
    assert a_lock(client, "next").acquire()
    assert lock.extend() is False and lock.release() is False


def test_an_acquire_whose_answer_was_lost_is_recognised_as_ours(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If SET reached Redis but its answer did not reach us, trying again finds the lock ours."""
    lock = a_lock(client)
    lose_the_answer(client, monkeypatch)
    with pytest.raises(LockUnavailable):
        lock.acquire()
    monkeypatch.undo()
    assert not a_lock(client, "other").try_acquire()
    assert lock.try_acquire()
    assert lock.release()


def test_releasing_after_an_acquire_whose_answer_was_lost_frees_the_lock(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An acquire in doubt does not block others for the whole time to live, if it is released."""
    lock = a_lock(client)
    lose_the_answer(client, monkeypatch)
    with pytest.raises(LockUnavailable):
        lock.acquire()
    monkeypatch.undo()
    assert lock.release()
    assert a_lock(client, "other").try_acquire()


def lose_the_answer(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have SET arrive and its answer get lost."""
    send = client.set

    def set_and_lose(*args: object, **kwargs: object) -> None:
        send(*args, **kwargs)  # type: ignore[arg-type]
        raise redis.TimeoutError("Timeout reading from 127.0.0.1")

    monkeypatch.setattr(client, "set", set_and_lose)


def test_what_is_under_the_key_but_is_no_lock_is_an_error_that_says_so(client: redis.Redis) -> None:
    """A list under the lock's key is neither taken nor deleted."""
    client.rpush(lock_key(NAME), "x")
    lock = a_lock(client)
    assert lock.acquire() is False
    with pytest.raises(LockUnavailable, match="WRONGTYPE"):
        lock.holder()


def add_many_times(redis_url: str, times: int) -> None:
    """Raise a counter by reading and writing it in two steps, which loses counts unless a lock keeps others out."""
    client = connect(redis_url)
    for _ in range(times):
        lock = TokenLock(client, "counter", 10, "adder")
        assert lock.acquire(wait_s=30)
        client.set("counter", int(client.get("counter") or 0) + 1)
        assert lock.release()


def test_processes_keep_each_other_out(client: redis.Redis, redis_url: str) -> None:
    """Eight processes that read, add and write under the lock lose no count."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=add_many_times, args=(redis_url, 50)) for _ in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 8
    assert int(client.get("counter") or 0) == 400
