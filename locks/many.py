"""Many token locks at once, for a batch: taken, extended and released in a few round trips, with one keeper for all."""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import redis

from .client import TryingTo
from .errors import LockLost, LockUnavailable
from .holder import holder_value
from .keys import Json, canonical_json, keys_of
from .scripts import Script

logger = logging.getLogger(__name__)

# KEYS: locks.  ARGV: milliseconds, then the values we would set, in their order.  1 for each that is ours now.
ACQUIRE_MANY = Script("""
local mine = {}
for i, key in ipairs(KEYS) do
  if redis.call('SET', key, ARGV[i + 1], 'NX', 'PX', ARGV[1]) then mine[i] = 1 else mine[i] = 0 end
end
return mine
""")

# KEYS: locks.  ARGV: milliseconds, then the values we set.  How many are still ours.
EXTEND_MANY = Script("""
local mine = 0
for i, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[i + 1] then mine = mine + redis.call('PEXPIRE', key, ARGV[1]) end
end
return mine
""")

# KEYS: locks, then their wake lists.  ARGV: the values we set.
RELEASE_MANY = Script("""
local count = #ARGV
local mine = 0
for i = 1, count do
  if redis.call('GET', KEYS[i]) == ARGV[i] then
    redis.call('DEL', KEYS[i])
    redis.call('LPUSH', KEYS[count + i], '1')
    redis.call('LTRIM', KEYS[count + i], 0, 0)
    redis.call('PEXPIRE', KEYS[count + i], 1000)
    mine = mine + 1
  end
end
return mine
""")


class HeldMany:
    """The locks that were free, by place: ``mine[i]`` says whether the i-th is held here."""

    def __init__(self, client: redis.Redis, names: Sequence[Json], ttl_s: float, owner: str) -> None:
        canonical = [canonical_json(name) for name in names]
        self._client = client
        self._ttl_s, self._ttl_ms = ttl_s, int(ttl_s * 1000)
        self._keys = [keys_of(name) for name in canonical]
        self._values = [holder_value(name, owner, secrets.token_hex(16)) for name in canonical]
        self._stop = threading.Event()
        self._reason: str | None = None
        self._valid_until = 0.0
        self._thread = threading.Thread(target=self._extend, name="locks-keeper", daemon=True)
        self.mine: list[bool] = []

    def acquire(self) -> None:
        """Take those that are free, without waiting.  Raises `LockUnavailable`."""
        asked_at = time.monotonic()
        with TryingTo(f"acquire {len(self._keys)} locks"):
            got = ACQUIRE_MANY(self._client, [key for key, _ in self._keys], self._ttl_ms, *self._values)
        self.mine = [bool(one) for one in got]
        self._valid_until = asked_at + self._ttl_s
        self._thread.start()

    def check(self) -> None:
        """Raise `LockLost` if any of them may belong to somebody else by now.  Cheap: no call to Redis."""
        if self._reason is None and time.monotonic() >= self._valid_until:
            self._reason = f"they could not be extended within their {self._ttl_s:g} s"
        if self._reason is not None:
            raise LockLost(f"{sum(self.mine)} locks of a batch", self._reason)

    def release(self) -> None:
        """Free those that are ours.  If Redis is away they free themselves within their time to live."""
        self._stop.set()
        self._thread.join()
        keys, wakes, values = self._held()
        with contextlib.suppress(LockUnavailable), TryingTo("release the locks of a batch"):
            RELEASE_MANY(self._client, [*keys, *wakes], *values)

    def _held(self) -> tuple[list[str], list[str], list[str]]:
        held = [
            (key, wake, value)
            for (key, wake), value, mine in zip(self._keys, self._values, self.mine, strict=True)
            if mine
        ]
        return [h[0] for h in held], [h[1] for h in held], [h[2] for h in held]

    def _extend(self) -> None:
        pause_s = self._ttl_s / 3
        keys, _, values = self._held()
        while not self._stop.wait(pause_s):
            asked_at = time.monotonic()
            try:
                with TryingTo("extend the locks of a batch"):
                    still = EXTEND_MANY(self._client, keys, self._ttl_ms, *values)
            except LockUnavailable as error:
                logger.warning("%s", error)
                pause_s = self._ttl_s / 10
                continue
            if int(still) < len(keys):
                self._reason = f"{len(keys) - int(still)} were deleted, or expired, or belong to somebody else"
                return
            self._valid_until, pause_s = asked_at + self._ttl_s, self._ttl_s / 3


@contextmanager
def held_many(client: redis.Redis, names: Sequence[Json], ttl_s: float, owner: str) -> Iterator[HeldMany]:
    """Hold those of these locks that are free (``mine``), extended by one keeper, for as long as the block runs.

    The names are those of `locks.TokenLock`: who holds one alone keeps a batch from it, and the other way round.  Raises
    `LockUnavailable` if Redis is away.  For example::

        with held_many(client, [["sync", "shop", i] for i in ids], ttl_s=30, owner="sync0@web1") as held:
            mine = [i for i, is_mine in zip(ids, held.mine) if is_mine]
    """
    many = HeldMany(client, names, ttl_s, owner)
    many.acquire()
    try:
        yield many
    finally:
        many.release()
