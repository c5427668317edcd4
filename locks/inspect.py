"""What operators see: every lock that is held now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import redis

from .client import TryingTo
from .holder import Holder, read_holder
from .keys import LOCK_PREFIX


@dataclass(frozen=True, slots=True)
class HeldLock:
    """One lock: its key, its holder, and its age in seconds by Redis' clock (None if the value is not ours)."""

    key: str
    holder: Holder
    age_s: float | None


def list_locks(client: redis.Redis) -> list[HeldLock]:
    """The locks held now, oldest first.  Reads with SCAN, so Redis goes on serving.  Raises `LockUnavailable`."""
    with TryingTo("list locks"):
        keys = sorted(set(client.scan_iter(match=LOCK_PREFIX + "*", count=1000)))
        pipeline = client.pipeline(transaction=False)
        pipeline.time()
        for key in keys:
            pipeline.get(key)
            pipeline.pttl(key)
        (seconds, microseconds), *answers = pipeline.execute()
    now = datetime.fromtimestamp(seconds + microseconds / 1e6, UTC)
    held = []
    for key, value, pttl in zip(keys, answers[::2], answers[1::2], strict=True):
        holder = read_holder(value, pttl)
        if holder is not None:
            age_s = max(0.0, (now - holder.acquired_at).total_seconds()) if holder.acquired_at else None
            held.append(HeldLock(key, holder, age_s))
    return sorted(held, key=lambda lock: -(lock.age_s or 0.0))
