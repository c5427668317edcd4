"""What went within a long period, put together again after Redis lost it."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable, Iterable
from typing import cast

import redis

from .client import TryingTo
from .errors import LimiterUnavailable, LockUnavailable
from .limit import Limit
from .limit_keys import EPOCH, LIMIT_PREFIX, keys_of
from .limit_steering import FINISH_REBUILD
from .token_lock import TokenLock

Rebuild = Callable[[str, Limit], Iterable[tuple[float, int]]]
"""(key, limit) -> pairs of age in seconds and how many permits went then; older than the period is ignored."""

_LOCK_TTL_S = 30.0
_CHUNK = 1000


def rebuild_key(
    client: redis.Redis,
    key: str,
    limit: Limit,
    *,
    permits: int,
    count: int,
    epoch: str,
    rebuild: Rebuild,
    wait_s: float,
) -> bool:
    """Have ``rebuild`` say what went and write it, unless somebody else does; False if they were not done in ``wait_s``.

    ``permits``  how many moments are needed: of the largest limit of the key.
    What ``rebuild`` raises is passed on, and the key stays unknown.
    """
    lock = TokenLock(client, ["limit", key], _LOCK_TTL_S, f"limiter@{socket.gethostname()}:{os.getpid()}")
    try:
        if not lock.try_acquire():
            # True: the one that had it is done, so ask for a slot again before doing it once more.
            return lock.acquire(wait_s) and lock.release()
        try:
            went = sorted((max(0.0, age_s), n) for age_s, n in rebuild(key, limit) if age_s <= limit.period_s)
            _write(client, key, limit, permits, count, epoch, went)
        finally:
            lock.release()
        return True
    except LockUnavailable as error:
        raise LimiterUnavailable(error.doing, error.cause) from error


def _write(
    client: redis.Redis, key: str, limit: Limit, permits: int, count: int, epoch: str, went: list[tuple[float, int]]
) -> None:
    state, past, ahead = keys_of(key)
    # Of its own: a counter that outlived its lock must not add to what the next one writes.
    beside = f"{LIMIT_PREFIX}rebuilt:{uuid.uuid4().hex}"
    with TryingTo(f"write down again what went through {key}", LimiterUnavailable):
        # Now, and not when the question was asked: later than it was is the safe side.
        seconds, microseconds = client.time()
        now_us = seconds * 1_000_000 + microseconds + int(cast("str | None", client.hget(state, "offset")) or 0)
        times = [str(now_us - int(age_s * 1e6)) for age_s, n in went for _ in range(min(n, permits))][:permits]
        for start in range(0, len(times), _CHUNK):
            client.rpush(beside, *times[start : start + _CHUNK])
            client.pexpire(beside, int(_LOCK_TTL_S * 1000))
        # Does nothing if Redis lost its data once more meanwhile; the next question finds that out.
        FINISH_REBUILD(client, [state, past, ahead, beside, EPOCH], epoch, limit.period_us, permits, count)
