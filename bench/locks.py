"""How fast a lock is acquired and released, against the bare commands and against redis-py's own Lock.

    python -m bench.locks [--seconds 10] [--waiters 50]

Starts a private server and prints rates, and the ratios, which hold on any machine.  ``raw`` is SET NX PX and EVALSHA on
redis-py: what a token lock cannot do without.
"""

from __future__ import annotations

import argparse
import secrets
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import redis

from locks import TokenLock, connect
from stack.endpoints import Endpoints
from stack.server_process import ServerProcess
from stack.valkey import configure_valkey, ping_valkey

RAW_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
TURN = 50
Once = Callable[[], None]


def raw(client: redis.Redis) -> Once:
    sha = client.script_load(RAW_RELEASE)

    def once() -> None:
        token = secrets.token_hex(16)
        assert client.set("raw", token, nx=True, px=10_000)
        assert client.evalsha(sha, 1, "raw", token)

    return once


def ours(client: redis.Redis) -> Once:
    def once() -> None:
        lock = TokenLock(client, ["imports", "flights"], 10, "bench")
        assert lock.acquire()
        assert lock.release()

    return once


def redis_py(client: redis.Redis) -> Once:
    def once() -> None:
        lock = client.lock("redis-py", timeout=10)
        assert lock.acquire()
        lock.release()

    return once


CONTENDERS = {"raw": raw, "holdfast": ours, "redis-py": redis_py}


def rates(client: redis.Redis, seconds: float) -> dict[str, float]:
    """How often each contender ran a second: the median of many short turns, taken in alternation.

    In alternation, because whatever else runs on the machine would otherwise fall on one of them.
    """
    ready = {name: contender(client) for name, contender in CONTENDERS.items()}
    turns: dict[str, list[float]] = {name: [] for name in ready}
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        for name, once in ready.items():
            started = time.perf_counter()
            for _ in range(TURN):
                once()
            turns[name].append(TURN / (time.perf_counter() - started))
    return {name: statistics.median(found) for name, found in turns.items()}


def handed_over(url: str, waiters: int, times: int, hold: Callable[[redis.Redis], bool]) -> tuple[float, float]:
    """``waiters`` threads want one lock, each ``times`` times: holders a second, and the longest wait in seconds."""
    waits: list[float] = []

    def want() -> None:
        client = connect(url)
        for _ in range(times):
            started = time.perf_counter()
            assert hold(client)
            waits.append(time.perf_counter() - started)

    threads = [threading.Thread(target=want) for _ in range(waiters)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(waits) / (time.perf_counter() - started), max(waits)


def hold_ours(client: redis.Redis) -> bool:
    lock = TokenLock(client, "wanted", 10, "bench")
    return lock.acquire(wait_s=60) and lock.release()


def hold_redis_py(client: redis.Redis) -> bool:
    lock = client.lock("wanted too", timeout=10, blocking_timeout=60)
    if not lock.acquire():
        return False
    lock.release()
    return True


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=10.0)
    options.add_argument("--waiters", type=int, default=50, help="threads that want the same lock")
    args = options.parse_args()
    endpoints = Endpoints.generate()
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as directory:
        command = configure_valkey(Path(directory), endpoints, durable=False)
        server = ServerProcess("valkey", command, {}, Path(directory) / "log", lambda: ping_valkey(endpoints))
        server.start()
        try:
            compare(endpoints.redis_url, args.seconds, args.waiters)
        finally:
            server.kill()


def compare(url: str, seconds: float, waiters: int) -> None:
    found = rates(connect(url), seconds)
    for name, per_second in found.items():
        print(f"{name:9} {per_second:8.0f} acquire+release/s   {per_second / found['raw']:.2f} of raw")
    print(f"{waiters} waiting:")
    for name, hold in {"holdfast": hold_ours, "redis-py": hold_redis_py}.items():
        holders, longest_s = handed_over(url, waiters, 10, hold)
        print(f"{name:9} {holders:8.0f} holders/s, longest wait {longest_s:.2f} s")


if __name__ == "__main__":
    main()
