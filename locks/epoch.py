"""Redis' epoch: a key that is there as long as Redis has kept its data.

Gone or changed means that Redis was flushed, replaced or came back empty, and every message in it with it.  So it
belongs into the very database whose loss is to be noticed: for Celery's messages, that of the broker.
"""

from __future__ import annotations

import uuid
from typing import cast

import redis

from .client import TryingTo
from .scripts import Script

EPOCH_KEY = "holdfast:epoch"

# One step, so that two dispatchers that find it gone at once agree on the new one.
_KEEP_OR_SET = Script("""
local epoch = redis.call('GET', KEYS[1])
if epoch then return epoch end
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]
""")


def read_epoch(client: redis.Redis) -> str | None:
    """The epoch, or None if this database has none (yet, or any more).  Raises `LockUnavailable`."""
    with TryingTo("read the epoch"):
        return cast("str | None", client.get(EPOCH_KEY))


def set_epoch_if_absent(client: redis.Redis, epoch: str | None = None) -> str:
    """Set a new epoch (random if not given) unless there is one; returns the one in force.

    Raises `LockUnavailable`.
    """
    with TryingTo("set the epoch"):
        return str(_KEEP_OR_SET(client, [EPOCH_KEY], epoch or uuid.uuid4().hex))
