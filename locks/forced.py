"""Taking a lock from its holder, for operators: only the very holding that was looked at."""

from __future__ import annotations

import redis

from .client import TryingTo
from .holder import read_holder
from .keys import LOCK_PREFIX, WAKE_PREFIX
from .scripts import RELEASE


def force_release(client: redis.Redis, key: str, token: str) -> bool:
    """Free the lock under ``key`` if its holding still has ``token``; False if it is free by now or held anew.

    Its holder is not told: what the lock protects must be fenced.  Raises `LockUnavailable`, and ValueError for another key.
    """
    if not key.startswith(LOCK_PREFIX):
        raise ValueError(f"{key!r} is no lock's key: they begin with {LOCK_PREFIX}")
    with TryingTo(f"release the lock {key}"):
        value = client.get(key)
        holder = read_holder(value if value is None or isinstance(value, str) else str(value), 0)
        if value is None or holder is None or holder.token != token:
            return False
        # Compared once more, in Redis, with the whole value: it may be held anew by now.
        return bool(RELEASE(client, [key, WAKE_PREFIX + key.removeprefix(LOCK_PREFIX)], str(value)) == 1)
