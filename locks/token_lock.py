"""The token lock: one holder at a time, for a bounded time, released and extended by its holder only."""

from __future__ import annotations

import random
import secrets
import time

import redis

from .client import TryingTo
from .holder import Holder, holder_value, read_holder
from .keys import Json, canonical_json, keys_of
from .scripts import EXTEND, RELEASE

# Below the client's answer time-out: a wait inside Redis must not look like a hung Redis.
_LONGEST_NAP_S = 0.5
_SHORTEST_NAP_S = 0.01


class TokenLock:
    """A lock in Redis on ``name``, any JSON value (`locks.keys` hashes it).

    ``ttl_s``  seconds after which Redis frees it unless extended, whatever becomes of us
    ``owner``  who we are, for operators and for whoever is refused; for example ``"control0@web1:4711"``

    It is a quick no, not a proof: a holder that is stopped for longer than ``ttl_s`` has lost it without noticing, so
    what it protects must be fenced as well.  Not re-entrant.  For example::

        lock = TokenLock(client, ["imports", "flights"], ttl_s=10, owner="control0@web1:4711")
        if lock.acquire(wait_s=2):
            try:
                ...
            finally:
                lock.release()
    """

    def __init__(self, client: redis.Redis, name: Json, ttl_s: float, owner: str) -> None:
        self.name = canonical_json(name)
        self.key, self._wake_key = keys_of(self.name)
        self.ttl_s = ttl_s
        self.owner = owner
        self.valid_until = 0.0
        """The moment, by `time.monotonic`, until which we may believe that we hold it."""
        self._client = client
        self._ttl_ms = int(ttl_s * 1000)
        self._value: str | None = None
        self._in_doubt: str | None = None
        if self._ttl_ms < 1:
            raise ValueError(
                f"TokenLock(ttl_s={ttl_s}): give seconds above zero, a lock without expiry would outlive a crash"
            )

    def try_acquire(self) -> bool:
        """Take the lock if it is free, without waiting.  Raises `LockUnavailable`."""
        value = self._in_doubt or holder_value(self.name, self.owner, secrets.token_hex(16))
        asked_at = time.monotonic()
        # Set before asking: if the answer is lost, only this value tells whether the lock was set by us.
        in_doubt, self._in_doubt = self._in_doubt, value
        with TryingTo(f"acquire lock {self.name}"):
            mine = bool(self._client.set(self.key, value, nx=True, px=self._ttl_ms))
            if not mine and in_doubt:
                mine = bool(EXTEND(self._client, [self.key], value, self._ttl_ms))
        self._in_doubt = None
        if mine:
            self._value = value
            self.valid_until = asked_at + self.ttl_s
        return mine

    def acquire(self, wait_s: float = 0.0) -> bool:
        """Take the lock, waiting up to ``wait_s`` seconds for whoever holds it; False if it was held all that time.

        A release wakes the one who waits longest; naps with jitter cover holders that die instead.  Raises
        `LockUnavailable`.
        """
        give_up_at = time.monotonic() + wait_s
        while not self.try_acquire():
            left_s = give_up_at - time.monotonic()
            if left_s <= 0:
                return False
            nap_s = max(_SHORTEST_NAP_S, min(left_s, random.uniform(0.5, 1.0) * _LONGEST_NAP_S))
            with TryingTo(f"wait for lock {self.name}"):
                self._client.blpop([self._wake_key], timeout=nap_s)
        return True

    def extend(self) -> bool:
        """Have it last ``ttl_s`` seconds from now; False if it is not ours any more.  Raises `LockUnavailable`."""
        if self._value is None:
            return False
        asked_at = time.monotonic()
        with TryingTo(f"extend lock {self.name}"):
            mine = bool(EXTEND(self._client, [self.key], self._value, self._ttl_ms))
        if mine:
            self.valid_until = asked_at + self.ttl_s
        return mine

    def release(self) -> bool:
        """Free the lock; False if it was not ours any more (expired, deleted, taken).

        Raises `LockUnavailable` if Redis is away: the lock then frees itself after at most ``ttl_s``, and release may
        be tried again.  After an acquire whose answer was lost, this frees what it may have set.
        """
        value = self._value or self._in_doubt
        if value is None:
            return False
        with TryingTo(f"release lock {self.name}, it frees itself within {self.ttl_s:g} s"):
            mine = bool(RELEASE(self._client, [self.key, self._wake_key], value))
        self._value = self._in_doubt = None
        return mine

    def holder(self) -> Holder | None:
        """Who holds the lock now, ourselves included; None if it is free.  Raises `LockUnavailable`."""
        with TryingTo(f"look at lock {self.name}"):
            pipeline = self._client.pipeline(transaction=False)
            pipeline.get(self.key)
            pipeline.pttl(self.key)
            value, pttl = pipeline.execute()
        return read_holder(value, pttl)
