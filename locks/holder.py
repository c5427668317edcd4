"""Who holds a lock: the value under its key, readable for operators."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime

_SHOWN = 200
_GONE = -2  # PTTL of a key that is not there (any more)


@dataclass(frozen=True, slots=True)
class Holder:
    """What a lock's key says about who holds it.

    ``name``         the lock's name as canonical JSON
    ``owner``        as given to `TokenLock`
    ``token``        the random part that makes this holding unlike any other
    ``acquired_at``  aware UTC, by the owner's clock; None if the value was not written by us
    ``ttl_s``        how long it lasts unless extended; None: a key without expiry, which we never write
    """

    name: str
    owner: str
    token: str
    acquired_at: datetime | None
    ttl_s: float | None


def holder_value(name: str, owner: str, token: str) -> str:
    """The text that goes under the key.  Lua compares it byte for byte, so it is built once per holding."""
    return json.dumps({"owner": owner, "token": token, "acquired_at": round(time.time(), 3), "name": name})


def read_holder(value: str | None, pttl: int) -> Holder | None:
    """The holder that the answers to GET and PTTL tell of; None if the lock is free.

    A value that is not ours is shown as it stands, never an error.
    """
    if value is None or pttl == _GONE:
        return None
    ttl_s = pttl / 1000 if pttl >= 0 else None
    try:
        said = json.loads(value)
        acquired_at = datetime.fromtimestamp(said["acquired_at"], UTC)
        return Holder(str(said["name"]), str(said["owner"]), str(said["token"]), acquired_at, ttl_s)
    except (ValueError, KeyError, TypeError, OverflowError, OSError):
        return Holder("?", f"not written by Holdfast: {value[:_SHOWN]!r}", "?", None, ttl_s)
