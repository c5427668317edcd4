"""A shared value that is dear to compute: one computes it, the others take what there is (stale-while-revalidate)."""

from __future__ import annotations

import json
import logging
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import redis

from .client import TryingTo
from .errors import LockUnavailable
from .keys import Json, canonical_json, digest_of
from .scripts import Script

logger = logging.getLogger(__name__)

CACHE_PREFIX = "holdfast:cache:"
_NAP_S = 0.02

# KEYS: value, refresher.  ARGV: soft age (microseconds), token, its time to live (milliseconds).
# Answers {value or '', age, 1 if the caller is to compute it}.  A value from the future: Redis' clock went back.
_LOOK = Script("""
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local f = redis.call('HMGET', KEYS[1], 'value', 'at')
local age = f[2] and now - tonumber(f[2]) or 0
if f[1] and age >= 0 and age < tonumber(ARGV[1]) then return { f[1], string.format('%.0f', age), 0 } end
local mine = redis.call('SET', KEYS[2], ARGV[2], 'NX', 'PX', ARGV[3])
return { f[1] or '', string.format('%.0f', math.max(0, age)), mine and 1 or 0 }
""")

# ARGV: token, value, hard age (milliseconds).  Whose turn was taken over writes nothing: a newer one is on its way.
_STORE = Script("""
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
local t = redis.call('TIME')
redis.call('HSET', KEYS[1], 'value', ARGV[2], 'at', string.format('%.0f', t[1] * 1000000 + t[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('DEL', KEYS[2])
return 1
""")

_LET_GO = Script("if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0")


@dataclass(frozen=True, slots=True)
class Cached:
    """A value and its age in seconds; 0 if it was computed just now."""

    value: Any
    age_s: float


class SharedCache:
    """Values by name in one Redis.

    ``soft_s``     until then a value is given as it is; later, one reader computes it anew and the others get the old one
    ``hard_s``     after which it is forgotten: readers then wait for the one that computes
    ``compute_s``  how long computing may take, before another one tries

    Values are JSON.  Redis away: everybody computes.  For example::

        cache = SharedCache(client, soft_s=5, hard_s=300)
        stats = cache.get(["stats", "day"], lambda: expensive_query()).value
    """

    def __init__(self, client: redis.Redis, *, soft_s: float, hard_s: float, compute_s: float = 30.0) -> None:
        if not 0 < soft_s <= hard_s or compute_s < 0.001:
            raise ValueError(
                f"SharedCache(soft_s={soft_s}, hard_s={hard_s}, compute_s={compute_s}): 0 < soft_s <= hard_s"
            )
        self._client = client
        self._soft_s, self._hard_s, self._compute_s = soft_s, hard_s, compute_s

    def get(self, name: Json, compute: Callable[[], Any]) -> Cached:
        """The value called ``name``, any JSON value.

        What ``compute`` raises is raised here, unless there is an old value: that is given then, and the next try is made
        when ``compute_s`` are over.
        """
        try:
            return self._get(canonical_json(name), compute)
        except LockUnavailable as error:
            logger.warning("%s", error)
            return Cached(compute(), 0.0)

    def forget(self, name: Json) -> None:
        """Have it computed anew, whatever its age.  Raises `LockUnavailable`."""
        with TryingTo(f"forget {canonical_json(name)}"):
            self._client.delete(self._keys(canonical_json(name))[0])

    def _get(self, name: str, compute: Callable[[], Any]) -> Cached:
        keys, token = self._keys(name), secrets.token_hex(16)
        give_up_at = time.monotonic() + self._compute_s
        while True:
            with TryingTo(f"look for {name}"):
                said = _LOOK(self._client, keys, int(self._soft_s * 1e6), token, int(self._compute_s * 1000))
            found, age_us, mine = said
            if mine:
                return self._computed(name, keys, token, compute, found, int(age_us) / 1e6)
            if found:
                return Cached(json.loads(found), int(age_us) / 1e6)
            if time.monotonic() > give_up_at:
                return Cached(compute(), 0.0)
            time.sleep(random.uniform(0.5, 1.5) * _NAP_S)

    def _computed(
        self, name: str, keys: list[str], token: str, compute: Callable[[], Any], old: str, age_s: float
    ) -> Cached:
        try:
            value = compute()
            text = json.dumps(value)
        except Exception as error:
            if old:
                # The turn is kept, so that not every reader runs into the same trouble again.
                logger.warning("%s could not be computed, the value of %.0f s ago stands: %s", name, age_s, error)
                return Cached(json.loads(old), age_s)
            self._let_go(keys, token)
            raise
        try:
            with TryingTo(f"keep {name}"):
                _STORE(self._client, keys, token, text, int(self._hard_s * 1000))
        except LockUnavailable as error:
            # Computed already: not once more.
            logger.warning("%s", error)
        return Cached(json.loads(text), 0.0)

    def _let_go(self, keys: list[str], token: str) -> None:
        try:
            with TryingTo("let a turn at computing go"):
                _LET_GO(self._client, keys[1:], token)
        except LockUnavailable as error:
            logger.debug("%s", error)

    def _keys(self, name: str) -> list[str]:
        digest = digest_of(name)
        return [CACHE_PREFIX + digest, f"{CACHE_PREFIX}turn:{digest}"]
