"""The Redis keys of a rate limit's key."""

from __future__ import annotations

from .errors import BadLimit

LIMIT_PREFIX = "holdfast:limit:"
EPOCH = LIMIT_PREFIX + "epoch"
STATE_PREFIX = LIMIT_PREFIX + "state:"
_LONGEST = 400


def state_key(key: str) -> str:
    """The hash that says what is known of ``key``.  Raises `BadLimit` for a key that operators could not read."""
    if not isinstance(key, str) or not key or len(key) > _LONGEST or not key.isprintable():
        raise BadLimit(
            f"{key!r} is no key for limits: give 1 to {_LONGEST} printable characters, as `email:provider:default`"
        )
    return STATE_PREFIX + key


def keys_of(key: str) -> list[str]:
    """State, past and ahead of ``key``, in the order that the scripts take them."""
    return [state_key(key), f"{LIMIT_PREFIX}past:{key}", f"{LIMIT_PREFIX}ahead:{key}"]
