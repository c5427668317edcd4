"""How exactly a shared rate limit is kept, how much of it is used and what it costs, against other ways.

    python -m bench.limits [--seconds 20] [--processes 4] [--rate 14]

Four processes want to go as fast as they may.  ``granted`` goes by Redis' clock: the most in any window of a second;
``arrived`` by the machine's, when each process went: what a server would have seen, in any second and any ten.  ``used`` is
the share of what the limit allows, ``fair`` the slowest process' share of the fastest one's, ``calls`` what was sent
to Redis per grant (for us with the look for a pause after each wait of more than 0.1 s).
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import redis

from locks import connect
from locks.limits import Limit, RateLimiter, Slot
from stack.endpoints import Endpoints
from stack.server_process import ServerProcess
from stack.valkey import configure_valkey, ping_valkey

KEY = "bench"
POLL_S = 0.01
Wait = Callable[[], int]
"""Returns when one may go, with the moment by Redis' clock, in microseconds."""


def ours(client: redis.Redis, rate: int) -> Wait:
    limiter, limits = RateLimiter(client), {KEY: [Limit(rate, 1), Limit(50_000, 86_400)]}

    def wait() -> int:
        while not isinstance(slot := limiter.take(limits, at_most_wait_s=5), Slot):
            time.sleep(slot.wait_s)
        return int(slot.taken[KEY])

    return wait


def polling(client: redis.Redis, rate: int) -> Wait:
    """``limits`` (PyPI) with its moving window: ask until it says yes."""
    # Not one of our requirements: `main` looks whether it is there.
    limits, storage = importlib.import_module("limits"), importlib.import_module("limits.storage")
    strategies = importlib.import_module("limits.strategies")
    options = client.connection_pool.connection_kwargs
    url = f"redis://:{options['password']}@{options['host']}:{options['port']}/{options['db']}"
    limiter = strategies.MovingWindowRateLimiter(storage.RedisStorage(url))
    second, day = limits.RateLimitItemPerSecond(rate), limits.RateLimitItemPerDay(50_000)

    def wait() -> int:
        while not (limiter.test(day, KEY) and limiter.hit(second, KEY)):
            time.sleep(POLL_S)
        limiter.hit(day, KEY)
        return _redis_now(client)

    return wait


def bucket(client: redis.Redis, rate: int) -> Wait:
    """A token bucket in each process, which knows nothing of the others."""
    tokens, filled_at = float(rate), time.monotonic()

    def wait() -> int:
        nonlocal tokens, filled_at
        while True:
            now = time.monotonic()
            tokens, filled_at = min(float(rate), tokens + (now - filled_at) * rate), now
            if tokens >= 1:
                tokens -= 1
                return _redis_now(client)
            time.sleep((1 - tokens) / rate)

    return wait


CONTENDERS = {"holdfast": ours, "limits (PyPI)": polling, "bucket per process": bucket}


def _redis_now(client: redis.Redis) -> int:
    seconds, microseconds = client.time()
    return int(seconds * 1_000_000 + microseconds)


def most_within(moments: Sequence[float], window: float) -> int:
    """How many moments at most lie in one window, however it is laid."""
    ordered, first, most = sorted(moments), 0, 0
    for last, moment in enumerate(ordered):
        while moment - ordered[first] >= window:
            first += 1
        most = max(most, last - first + 1)
    return most


def _work(name: str, url: str, rate: int, start_at: float, seconds: float, said: Connection) -> None:
    sent = 0
    send: Any = redis.Redis.execute_command

    def counted(self: redis.Redis, *args: Any, **options: Any) -> Any:
        nonlocal sent
        # TIME is this benchmark's own question.
        sent += args[0] != "TIME"
        return send(self, *args, **options)

    redis.Redis.execute_command = counted  # type: ignore[method-assign]
    wait = CONTENDERS[name](connect(url), rate)
    time.sleep(max(0.0, start_at - time.monotonic()))
    went = []
    while time.monotonic() < start_at + seconds:
        granted = wait()
        went.append((granted, time.monotonic()))
    said.send((went, sent))


def measure(name: str, url: str, rate: int, processes: int, seconds: float) -> None:
    """Run one contender and print its line."""
    client = connect(url)
    client.flushall()
    client.config_resetstat()
    fork, start_at = multiprocessing.get_context("fork"), time.monotonic() + 0.5
    pipes = []
    for _ in range(processes):
        here, there = fork.Pipe(duplex=False)
        fork.Process(target=_work, args=(name, url, rate, start_at, seconds, there), daemon=True).start()
        pipes.append(here)
    told = [pipe.recv() for pipe in pipes]
    # Without the wait that each one was in when the time was up.
    each = [[one for one in went if one[1] <= start_at + seconds] for went, _ in told]
    calls = sum(sent for _, sent in told)
    granted = [at / 1e6 for went in each for at, _ in went]
    arrived = [at for went in each for _, at in went]
    stats = {key.removeprefix("cmdstat_"): value for key, value in client.info("commandstats").items()}
    lua_us = stats["evalsha"]["usec_per_call"] if "evalsha" in stats else 0.0
    counts = [len(went) for went in each]
    print(
        f"{name:18} granted {most_within(granted, 1.0):3}/s   arrived {most_within(arrived, 1.0):3}/s "
        f"{most_within(arrived, 10.0):4}/10s   used {len(granted) / (rate * seconds):5.0%}   fair {min(counts) / max(counts):.2f}"
        f"   {calls / len(granted):5.1f} calls   {lua_us:4.0f} µs a script in Redis",
        flush=True,
    )


def cost(url: str) -> None:
    """What a reservation costs when nobody waits, beside a PING."""
    client = connect(url)
    limiter, limits = RateLimiter(client), {KEY: [Limit(100_000, 1), Limit(500_000, 86_400)]}
    client.flushall()
    found = {}
    tries: dict[str, Callable[[], object]] = {
        "PING": client.ping,
        "reserve": lambda: limiter.reserve(limits, at_most_wait_s=1),
        "paused?": lambda: limiter.paused([KEY]),
    }
    for name, once in tries.items():
        times = []
        for _ in range(3000):
            started = time.perf_counter()
            once()
            times.append(time.perf_counter() - started)
        found[name] = statistics.median(times) * 1e6
    print("   ".join(f"{name} {us:.0f} µs" for name, us in found.items()))
    for _ in range(47_000):
        limiter.reserve(limits, at_most_wait_s=1)
    bytes_used = sum(client.memory_usage(key) or 0 for key in client.scan_iter("holdfast:limit:*"))
    started = time.perf_counter()
    for _ in range(1000):
        limiter.reserve(limits, at_most_wait_s=1)
    print(
        f"with 50,000 grants within the day: reserve {(time.perf_counter() - started) * 1000:.0f} µs, {bytes_used / 1024:.0f} KiB"
    )


@contextmanager
def a_server() -> Iterator[str]:
    """A private Valkey; its URL."""
    endpoints = Endpoints.generate()
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as directory:
        command = configure_valkey(Path(directory), endpoints, durable=False)
        server = ServerProcess("valkey", command, os.environ, Path(directory) / "log", lambda: ping_valkey(endpoints))
        server.start()
        try:
            yield endpoints.redis_url
        finally:
            server.kill()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=20.0, help="how long each one runs (120 for the figures)")
    options.add_argument("--processes", type=int, default=4)
    options.add_argument("--rate", type=int, default=14, help="a second, for all processes together")
    args = options.parse_args()
    with a_server() as url:
        print(f"{args.processes} processes, {args.rate}/s and 50000/day, {args.seconds:g} s each:")
        for name in CONTENDERS:
            if name.startswith("limits") and importlib.util.find_spec("limits") is None:
                print(f"{name:18} is not installed: pip install limits, and it is compared too")
                continue
            measure(name, url, args.rate, args.processes, args.seconds)
        print("a call, when nobody waits (median):")
        cost(url)


if __name__ == "__main__":
    main()
