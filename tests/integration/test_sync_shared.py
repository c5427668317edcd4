"""What the workers of a connection keep together: the breaker, Retry-After, rates, places.  Each gate here is a worker."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from locks import connect
from locks.breaker import Breaker
from locks.limits import RateLimiter
from stack.private import Servers
from tasks.sync.connections import SyncConnection
from tasks.sync.errors import NotNow
from tasks.sync.gate import gated
from tasks.sync.http import Http
from tasks.sync.http_answer import check
from tasks.sync.remote_errors import OutcomeUnknown, RateLimited, Unavailable
from tasks.sync.shared_gate import LONGEST_PAUSE_S, REDIS_AWAY_S, SharedGate, connection_key
from tests.raw_http import RawServer, answer, answering, raw_server
from tests.sync_api import KIND
from tests.waiting import wait_until

OK, BROKEN = answer("200 OK", b"{}"), answer("500 Broken")


def go_on() -> None:
    """Nobody asks the job to stop."""


class Worker:
    """A worker of its own, as far as Redis can see."""

    def __init__(
        self, redis_url: str, server: RawServer, *, limits: tuple[str, ...] = (), concurrency: int | None = None
    ):
        connection = SyncConnection("shared", (KIND,), limits=limits, concurrency=concurrency)
        self.redis = connect(redis_url)
        self.gate = SharedGate(self.redis, RateLimiter(self.redis), connection, go_on, owner="w")
        self.http = Http(server.url)

    def ask(self, method: str = "GET") -> int:
        """One request; the status."""
        with gated(self.gate):
            answered = self.http.request(method, self.http.url("items"), content={} if method == "POST" else None)
        return check(answered).status if answered.status != 500 else 500

    def close(self) -> None:
        self.http.close()
        self.redis.close()


@pytest.fixture
def workers(redis_url: str) -> Iterator[Callable[..., Worker]]:
    """Makes workers, and closes them."""
    made: list[Worker] = []

    def make(server: RawServer, **options: object) -> Worker:
        made.append(Worker(redis_url, server, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for worker in made:
        worker.close()


Workers = Callable[..., Worker]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A breaker that opens for a moment, and nobody who waits."""
    monkeypatch.setattr("tasks.sync.shared_gate.Breaker", partial(Breaker, open_s=0.2))
    monkeypatch.setattr("tasks.sync.shared_gate.SHORT_S", 0.2)


def test_failures_that_one_worker_sees_stop_the_others(workers: Workers) -> None:
    """Five in a row, and nobody asks any more: not the one that saw them, nor one that never asked before."""
    with raw_server(answering(BROKEN)) as server:
        one, other = workers(server), workers(server)
        for _ in range(5):
            assert one.ask() == 500
        for worker in (other, one):
            with pytest.raises(NotNow, match="connection shared fails: HTTP 500") as refused:
                worker.ask()
            assert 5 < refused.value.wait_s <= 10
        assert len(server.requests) == 5


def test_who_does_not_answer_counts_as_failed(workers: Workers) -> None:
    """A connection that is cut before any answer."""

    def cut(connection: socket.socket, server: RawServer) -> None:
        server.read_request(connection)

    with raw_server(cut) as server:
        one, other = workers(server), workers(server)
        for _ in range(5):
            with pytest.raises((Unavailable, OutcomeUnknown)):
                one.ask("POST")
        with pytest.raises(NotNow, match="no answer"):
            other.ask()


@pytest.mark.usefixtures("impatient")
def test_when_its_time_is_over_one_worker_tries_for_all(workers: Workers) -> None:
    """One request while the others wait; it goes well, and all go on."""
    asked, may_answer = threading.Event(), threading.Event()

    def behave(connection: socket.socket, server: RawServer) -> None:
        while server.read_request(connection):
            if len(server.requests) > 5:
                asked.set()
                may_answer.wait(10)
            connection.sendall(OK if len(server.requests) > 5 else BROKEN)

    with raw_server(behave) as server, ThreadPoolExecutor(1) as pool:
        one, other = workers(server), workers(server)
        for _ in range(5):
            one.ask()
        wait_until(lambda: Breaker(one.redis, ["sync", "shared"]).show().state == "half-open")
        probe = pool.submit(one.ask)
        assert asked.wait(10)
        with pytest.raises(NotNow):
            other.ask()
        assert len(server.requests) == 6
        may_answer.set()
        assert probe.result(10) == 200
        assert other.ask() == 200


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kept_by", ["place", "rate"])
def test_a_probe_that_is_kept_back_keeps_nobody_back(workers: Workers, kept_by: str) -> None:
    """By a place or a pause: whoever may go next tries, not only after the minute that a probe may take."""
    with raw_server(answering(*[BROKEN] * 5, OK)) as server:
        one, other = (workers(server, concurrency=1) for _ in range(2))
        for _ in range(5):
            one.ask()
        wait_until(lambda: Breaker(one.redis, ["sync", "shared"]).show().state == "half-open")
        limiter = RateLimiter(one.redis)
        place = other.gate._places.take() if other.gate._places is not None and kept_by == "place" else None
        if kept_by == "rate":
            limiter.pause(connection_key("shared"), 60, "a test")
        with pytest.raises(NotNow):
            one.ask()
        if place is not None:
            place.release()
        else:
            limiter.resume(connection_key("shared"))
        assert other.ask() == 200


def test_retry_after_holds_every_worker_back(workers: Workers) -> None:
    """From the answer on, and not a moment less; a wait that is near is waited for."""
    with raw_server(answering(answer("429 No", b"", "Retry-After: 1"), OK)) as server:
        one, other = workers(server), workers(server)
        with pytest.raises(RateLimited):
            one.ask()
        answered_at = time.monotonic()
        assert other.ask() == 200
        assert time.monotonic() - answered_at >= 0.99


@pytest.mark.parametrize("seconds, parked_s", [(3600, 3600.0), (7 * 24 * 3600, LONGEST_PAUSE_S)])
def test_a_long_retry_after_parks_the_connection(workers: Workers, seconds: int, parked_s: float) -> None:
    """Nobody asks; the reason and the time left are said.  A week is asked again after a day."""
    with raw_server(answering(answer("503 No", b"", f"Retry-After: {seconds}"), OK)) as server:
        one, other = workers(server), workers(server)
        with pytest.raises(Unavailable):
            one.ask()
        with pytest.raises(NotNow, match="connection shared: ") as parked:
            other.ask()
        assert parked_s - 10 < parked.value.wait_s <= parked_s
        assert len(server.requests) == 1


def test_a_503_that_says_when_to_come_back_opens_no_breaker(workers: Workers) -> None:
    """Whoever says so is there: when the wait is over, all go on at once."""
    with raw_server(answering(*[answer("503 No", b"", "Retry-After: 0.01")] * 6, OK)) as server:
        one = workers(server)
        for _ in range(6):
            with pytest.raises(Unavailable):
                one.ask()
        assert one.ask() == 200


@pytest.mark.usefixtures("impatient")
def test_no_more_requests_at_once_than_the_connection_allows(workers: Workers) -> None:
    """Two of six at a time, over all workers; who finds no place says so, and a place is free again after each answer."""
    may_answer, under_way = threading.Event(), threading.Semaphore(0)

    def behave(connection: socket.socket, server: RawServer) -> None:
        while server.read_request(connection):
            under_way.release()
            may_answer.wait(10)
            connection.sendall(OK)

    def tried(worker: Worker) -> str:
        try:
            return str(worker.ask())
        except NotNow as error:
            return str(error)

    with raw_server(behave) as server, ThreadPoolExecutor(6) as pool:
        crew = [workers(server, concurrency=2) for _ in range(6)]
        first = [pool.submit(tried, worker) for worker in crew[:2]]
        assert under_way.acquire(timeout=10) and under_way.acquire(timeout=10)
        others = [pool.submit(tried, worker).result(10) for worker in crew[2:]]
        assert others == ["connection shared: every place is taken"] * 4
        assert len(server.requests) == 2
        may_answer.set()
        assert [one.result(10) for one in first] == ["200", "200"]
        assert [tried(worker) for worker in crew] == ["200"] * 6


@pytest.mark.usefixtures("impatient")
def test_a_request_that_fails_gives_its_place_back(workers: Workers) -> None:
    """Without any answer as well."""

    def cut(connection: socket.socket, server: RawServer) -> None:
        server.read_request(connection)

    with raw_server(cut) as server:
        one = workers(server, concurrency=1)
        for _ in range(3):
            with pytest.raises((Unavailable, OutcomeUnknown)) as failed:
                one.ask("POST")
            assert not isinstance(failed.value, NotNow)


def test_all_workers_together_keep_the_rate(workers: Workers) -> None:
    """Ten a second, of three workers that ask as fast as they can: 21 take two seconds, not the 0.6 of each one's own."""
    with raw_server(answering(OK)) as server, ThreadPoolExecutor(3) as pool:
        crew = [workers(server, limits=("10/s",)) for _ in range(3)]
        started = time.monotonic()
        for done in [pool.submit(lambda w=worker: [w.ask() for _ in range(7)]) for worker in crew]:  # type: ignore[misc]
            done.result(30)
        assert time.monotonic() - started > 1.8
        assert len(server.requests) == 21


def test_without_redis_no_request_starts(workers: Workers, servers: Servers) -> None:
    """The limits cannot be asked, so nobody goes; with Redis back, all go on by themselves."""
    with raw_server(answering(OK)) as server:
        one = workers(server, limits=("100/s",))
        assert one.ask() == 200
        servers.valkey.kill()
        with pytest.raises(NotNow, match="the shared limits cannot be asked") as away:
            one.ask()
        assert away.value.wait_s == REDIS_AWAY_S
        assert len(server.requests) == 1
        servers.valkey.start()
        assert one.ask() == 200


def test_an_answer_is_an_answer_even_if_redis_goes_away_before_it(workers: Workers, servers: Servers) -> None:
    """What was done at the API is not undone because nobody could be told."""

    def behave(connection: socket.socket, server: RawServer) -> None:
        server.read_request(connection)
        servers.valkey.kill()
        connection.sendall(OK)

    with raw_server(behave) as server:
        try:
            assert workers(server).ask("POST") == 200
        finally:
            servers.valkey.start()
