"""Many processes at one limit: nobody's clock and nobody's hurry makes them faster than allowed."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection

import pytest
import redis

from locks import connect
from locks.limits import Limit, NotBefore, RateLimiter, Slot

KEY = "email:provider:default"
RATE = Limit.parse("30/s")
OTHER = Limit.parse("290/10s")
LASTS_S = 4.0
SKEWS_S = (0.0, 3600.0, -3600.0, 0.0, 7.0, 0.0)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    client = connect(redis_url, owner="test")
    yield client
    client.close()


def _hammer(url: str, skew_s: float, domain: str, said: Connection) -> None:
    """Take slots for a while; tell when each was by Redis' clock, and when we went by the machine's."""
    real = time.time
    time.time = lambda: real() + skew_s
    limiter = RateLimiter(connect(url))
    limits = {KEY: [RATE, OTHER], f"email:domain:{domain}": [Limit.parse("25/s")]}
    went: list[tuple[int, float]] = []
    until = time.monotonic() + LASTS_S
    while time.monotonic() < until:
        match limiter.take(limits, at_most_wait_s=0.5):
            case Slot() as slot:
                went.append((int(slot.taken[KEY]), time.monotonic()))
            case NotBefore(wait_s=wait_s):
                time.sleep(min(wait_s, 0.05))
    said.send(went)


def _most_within(moments: Sequence[float], window: float) -> int:
    """How many moments at most lie in one window, however it is laid."""
    ordered, first, most = sorted(moments), 0, 0
    for last, moment in enumerate(ordered):
        while moment - ordered[first] > window:
            first += 1
        most = max(most, last - first + 1)
    return most


def test_six_processes_with_clocks_apart_keep_to_every_limit_and_share_it(client: redis.Redis, redis_url: str) -> None:
    """By Redis' clock no window holds more than its limit; at the server one more, and one for a worker that was stopped
    between its look at the clock and its going; nobody starves; little time is wasted.
    """
    fork, pipes, children = multiprocessing.get_context("fork"), [], []
    for number, skew_s in enumerate(SKEWS_S):
        here, there = fork.Pipe(duplex=False)
        child = fork.Process(target=_hammer, args=(redis_url, skew_s, f"{number % 2}.example", there))
        child.start()
        pipes.append(here)
        children.append(child)
    each = [pipe.recv() for pipe in pipes]
    for child in children:
        child.join(30)
    granted = [at for went in each for at, _ in went]
    arrived = [at for went in each for _, at in went]
    assert _most_within(granted, 1_000_000) <= 30
    assert _most_within(granted, 10_000_000) <= 290
    assert _most_within(arrived, 1.0) <= 32
    assert len(granted) >= 0.7 * 29 * LASTS_S
    assert min(len(went) for went in each) >= 0.5 * max(len(went) for went in each)
