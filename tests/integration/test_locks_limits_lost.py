"""What becomes of limits when Redis loses its data, or comes back with a clock that is behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator

import pytest
import redis

from locks import LimiterUnavailable, TokenLock, connect
from locks.limit_keys import EPOCH, LIMIT_PREFIX, keys_of
from locks.limits import Limit, NotBefore, RateLimiter, Slot
from stack.private import Servers
from tests.integration.limits_model import set_clock, use_test_clock

KEY = "email:provider:default"
DAILY = {KEY: [Limit.parse("1000/s"), Limit.parse("5/day")]}
START_US = 1_795_000_000_000_000


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    client = connect(redis_url, owner="test")
    yield client
    client.close()


class Ledger:
    """What MySQL would know: when each permit went."""

    def __init__(self) -> None:
        self.went: list[float] = []
        self.asked: list[tuple[str, Limit]] = []
        self.takes_s = 0.0

    def __call__(self, key: str, limit: Limit) -> Iterable[tuple[float, int]]:
        self.asked.append((key, limit))
        time.sleep(self.takes_s)
        return [(time.monotonic() - at, 1) for at in self.went]

    def send(self, limiter: RateLimiter) -> bool:
        if isinstance(limiter.take(DAILY, at_most_wait_s=1), Slot):
            self.went.append(time.monotonic())
            return True
        return False


def test_a_daily_quota_survives_a_flush(client: redis.Redis) -> None:
    """Three of five went; Redis is flushed; two more go, and then none for the rest of the day."""
    ledger = Ledger()
    limiter = RateLimiter(client, rebuild=ledger)
    assert [ledger.send(limiter) for _ in range(3)] == [True] * 3
    assert len(ledger.asked) == 1
    client.flushall()
    assert [ledger.send(limiter) for _ in range(3)] == [True, True, False]
    assert ledger.asked[1:] == [(KEY, Limit.parse("5/day"))]
    refused = limiter.reserve(DAILY, at_most_wait_s=1)
    assert isinstance(refused, NotBefore)
    assert refused.limit == Limit.parse("5/day")
    assert 86_000 < refused.wait_s < 86_401


@pytest.mark.parametrize("loss", ["state", "past", "epoch", "changed epoch"])
def test_a_partial_loss_is_noticed_too(client: redis.Redis, loss: str) -> None:
    """One of the keys evicted or deleted, or the epoch changed: counted again from the ledger."""
    ledger = Ledger()
    limiter = RateLimiter(client, rebuild=ledger)
    assert [ledger.send(limiter) for _ in range(5)] == [True] * 5
    state, past, _ = keys_of(KEY)
    if loss == "changed epoch":
        client.hset(EPOCH, "id", "another")
    else:
        client.delete({"state": state, "past": past, "epoch": EPOCH}[loss])
    assert not ledger.send(limiter)
    assert len(ledger.asked) == 2


def test_a_redis_that_went_back_in_time_is_noticed(client: redis.Redis) -> None:
    """Restored from an old snapshot, or a replica that lagged: who has seen more has it counted again."""
    ledger = Ledger()
    limiter = RateLimiter(client, rebuild=ledger)
    ledger.send(limiter)
    old = _dumped(client)
    assert [ledger.send(limiter) for _ in range(4)] == [True] * 4
    client.flushall()
    raw = _raw(client)
    for key, value in old.items():
        assert value is not None
        raw.restore(key, 0, value)
    assert not ledger.send(limiter)


def _raw(client: redis.Redis) -> redis.Redis:
    options = client.connection_pool.connection_kwargs | {"decode_responses": False}
    return redis.Redis(**{name: options[name] for name in ("host", "port", "db", "password", "decode_responses")})


def _dumped(client: redis.Redis) -> dict[bytes, bytes | None]:
    raw = _raw(client)
    return {key: raw.dump(key) for key in raw.scan_iter(LIMIT_PREFIX + "*")}


def test_one_counts_and_the_others_wait_for_it(client: redis.Redis, redis_url: str) -> None:
    """Eight workers find the key gone at once: the database is asked once, and nobody gets more than is left."""
    ledger = Ledger()
    ledger.went, ledger.takes_s = [time.monotonic()] * 3, 0.3
    answers: list[Slot | NotBefore] = []
    barrier = threading.Barrier(8)

    def work() -> None:
        limiter = RateLimiter(connect(redis_url), rebuild=ledger)
        barrier.wait()
        answers.append(limiter.reserve(DAILY, at_most_wait_s=5))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ledger.asked) == 1
    assert sum(isinstance(answer, Slot) for answer in answers) == 2


def test_who_may_not_wait_for_the_count_comes_back_later(client: redis.Redis) -> None:
    """While another one counts, nothing is granted, and the answer says why."""
    ledger = Ledger()
    counting = TokenLock(client, ["limit", KEY], 30, "another")
    assert counting.acquire()
    refused = RateLimiter(client, rebuild=ledger).reserve(DAILY, at_most_wait_s=0.1)
    assert isinstance(refused, NotBefore)
    assert "being counted again" in refused.why
    assert ledger.asked == []
    counting.release()
    assert isinstance(RateLimiter(client, rebuild=ledger).reserve(DAILY, at_most_wait_s=0.1), Slot)


def test_a_count_that_fails_grants_nothing_and_is_tried_again(client: redis.Redis) -> None:
    """MySQL away: its error reaches the caller, the key stays unknown, and the next caller may count."""
    ledger = Ledger()

    def broken(key: str, limit: Limit) -> Iterable[tuple[float, int]]:
        raise ConnectionError("MySQL is away")

    for _ in range(2):
        with pytest.raises(ConnectionError):
            RateLimiter(client, rebuild=broken).reserve(DAILY, at_most_wait_s=1)
    ledger.went = [time.monotonic()] * 5
    assert isinstance(RateLimiter(client, rebuild=ledger).reserve(DAILY, at_most_wait_s=1), NotBefore)


def test_counts_by_bucket_and_what_is_too_old(client: redis.Redis) -> None:
    """Four in one bucket an hour ago count; nine of the day before do not."""
    limiter = RateLimiter(client, rebuild=lambda key, limit: [(90_000, 9), (3600, 4)])
    assert isinstance(limiter.reserve(DAILY, at_most_wait_s=1), Slot)
    refused = limiter.reserve(DAILY, at_most_wait_s=1)
    assert isinstance(refused, NotBefore)
    assert refused.wait_s == pytest.approx(86_400 - 3600, abs=5)


def test_what_went_without_the_daily_limit_is_kept_beside_the_count(client: redis.Redis) -> None:
    """Grants since the loss that the ledger does not know yet are not forgotten by counting."""
    limiter = RateLimiter(client, rebuild=lambda key, limit: [(60, 3)])
    assert isinstance(limiter.reserve({KEY: DAILY[KEY][:1]}, at_most_wait_s=1), Slot)
    assert isinstance(limiter.reserve(DAILY, at_most_wait_s=1), Slot)
    assert isinstance(limiter.reserve(DAILY, at_most_wait_s=1), NotBefore)


def test_a_lost_redis_while_counting_is_said(servers: Servers, client: redis.Redis) -> None:
    """Redis dies under the count: LimiterUnavailable, as always."""

    def dies(key: str, limit: Limit) -> Iterable[tuple[float, int]]:
        servers.valkey.kill()
        return []

    with pytest.raises(LimiterUnavailable):
        RateLimiter(client, rebuild=dies).reserve(DAILY, at_most_wait_s=1)


def test_after_a_flush_slots_that_are_still_out_are_waited_for(client: redis.Redis) -> None:
    """Workers hold slots of the next second that a flushed Redis has forgotten: new ones come after them."""
    limits = {KEY: [Limit.parse("5/s")]}
    limiter = RateLimiter(client)
    held = [limiter.reserve(limits, at_most_wait_s=5) for _ in range(5)]
    last = max(slot.go_at for slot in held if isinstance(slot, Slot))
    client.flushall()
    answer = limiter.reserve(limits, at_most_wait_s=5)
    assert isinstance(answer, Slot)
    assert answer.go_at > last
    refused = RateLimiter(client).reserve(limits, at_most_wait_s=0)
    assert isinstance(refused, NotBefore)


def test_a_clock_that_goes_back_stops_nothing_and_forgets_nothing(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Failover to a host an hour behind: the pace stays, a pause lasts as long as it was to, the daily count stands."""
    use_test_clock(monkeypatch)
    set_clock(client, START_US)
    limiter, limits = RateLimiter(client), {KEY: [Limit.parse("10/s"), Limit.parse("4/day")]}
    assert isinstance(limiter.reserve(limits, at_most_wait_s=5), Slot)
    limiter.pause("paused", 100, "test")
    set_clock(client, START_US - 3600 * 10**6)
    second = limiter.reserve(limits, at_most_wait_s=5)
    assert isinstance(second, Slot)
    assert 0 < second.go_in_s <= 0.1
    assert limiter.paused(["paused"])["paused"].for_s == pytest.approx(100)
    set_clock(client, START_US - 3590 * 10**6)
    for _ in range(2):
        assert isinstance(limiter.reserve(limits, at_most_wait_s=5), Slot)
    refused = limiter.reserve(limits, at_most_wait_s=5)
    assert isinstance(refused, NotBefore)
    assert refused.wait_s == pytest.approx(86_390, abs=1)
