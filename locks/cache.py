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
GENERATION_S = 86_400
_NAP_S = 0.02

# KEYS: value, refresher, generation.  ARGV: soft age (microseconds), token, its time to live (milliseconds), how many times
# as long as it took to compute a value is to rest.  Answers {value or '', age, cost, 1 if the caller is to compute it, the
# generation}.  A value from the future: Redis' clock went back.  A value of another generation is none.
_LOOK = Script("""
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local gen = redis.call('GET', KEYS[3]) or ''
local f = redis.call('HMGET', KEYS[1], 'value', 'at', 'cost', 'gen')
if f[4] ~= gen then f = { false, false, false, false } end
local age = f[2] and now - tonumber(f[2]) or 0
local cost = f[3] or '0'
local soft = math.max(tonumber(ARGV[1]), tonumber(cost) * tonumber(ARGV[4]))
if f[1] and age >= 0 and age < soft then return { f[1], string.format('%.0f', age), cost, 0, gen } end
local mine = redis.call('SET', KEYS[2], ARGV[2], 'NX', 'PX', ARGV[3])
return { f[1] or '', string.format('%.0f', math.max(0, age)), cost, mine and 1 or 0, gen }
""")

# ARGV: token, value, hard age (milliseconds), cost (microseconds), generation before it was computed.  Whose turn was taken
# over writes nothing: a newer one is on its way.
_STORE = Script("""
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
local t = redis.call('TIME')
redis.call('HSET', KEYS[1], 'value', ARGV[2], 'at', string.format('%.0f', t[1] * 1000000 + t[2]), 'cost', ARGV[4],
  'gen', ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('DEL', KEYS[2])
return 1
""")

# KEYS: refresher.  ARGV: token, in how many milliseconds; none: at once.
_END_TURN = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
""")


@dataclass(frozen=True, slots=True)
class Cached:
    """A value, its age in seconds (0 if it was computed just now), and what it cost: the seconds that it took to compute."""

    value: Any
    age_s: float
    cost_s: float = 0.0


class SharedCache:
    """Values by name in one Redis.

    ``soft_s``     until then a value is given as it is; later, one reader computes it anew and the others get the old one
    ``hard_s``     after which it is forgotten: readers then wait for the one that computes
    ``compute_s``  how long computing may take, before another one tries
    ``retry_s``    how long an old value stands after computing has failed, before the next one tries; compute_s unless given
    ``rest_times`` what took long is computed less often: for so many times as long as it took a value counts as soft_s old at
                   most, and it is kept for twice that
    ``group``      values that `forget_all` forgets together: they depend on the same things

    Values are JSON.  Redis away: everybody computes.  For example::

        cache = SharedCache(client, soft_s=5, hard_s=300)
        stats = cache.get(["stats", "day"], lambda: expensive_query()).value
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        soft_s: float,
        hard_s: float,
        compute_s: float = 30.0,
        retry_s: float | None = None,
        rest_times: float = 0.0,
        group: str = "",
    ) -> None:
        if not 0 < soft_s <= hard_s or compute_s < 0.001:
            raise ValueError(
                f"SharedCache(soft_s={soft_s}, hard_s={hard_s}, compute_s={compute_s}): 0 < soft_s <= hard_s"
            )
        self._client = client
        self._soft_s, self._hard_s, self._compute_s = soft_s, hard_s, compute_s
        self._retry_s = compute_s if retry_s is None else retry_s
        self._rest_times, self._generation = rest_times, f"{CACHE_PREFIX}generation:{group}"

    def get(self, name: Json, compute: Callable[[], Any]) -> Cached:
        """The value called ``name``, any JSON value.

        What ``compute`` raises is raised here, unless there is an old value: that is given then, and the next try is made
        when ``retry_s`` are over.
        """
        try:
            return self.look(name, compute)
        except LockUnavailable as error:
            logger.warning("%s", error)
            return Cached(compute(), 0.0)

    def forget_all(self) -> None:
        """Have every value of the group computed anew, those included that are being computed now.  Raises `LockUnavailable`."""
        with TryingTo("forget what is kept"):
            # Kept longer than any value that was stored under an earlier one.
            self._client.set(self._generation, secrets.token_hex(8), ex=GENERATION_S)

    def forget(self, name: Json) -> None:
        """Have it computed anew, whatever its age.  Raises `LockUnavailable`."""
        with TryingTo(f"forget {canonical_json(name)}"):
            self._client.delete(self._keys(canonical_json(name))[0])

    def look(self, given: Json, compute: Callable[[], Any]) -> Cached:
        """As `get`, but without Redis it raises `LockUnavailable`, and leaves what to do to the caller."""
        name = canonical_json(given)
        keys, token = self._keys(name), secrets.token_hex(16)
        give_up_at = time.monotonic() + self._compute_s
        while True:
            with TryingTo(f"look for {name}"):
                said = _LOOK(
                    self._client,
                    [*keys, self._generation],
                    int(self._soft_s * 1e6),
                    token,
                    int(self._compute_s * 1000),
                    str(self._rest_times),
                )
            found, age_us, cost_us, mine, generation = said
            old = Cached(json.loads(found), int(age_us) / 1e6, int(cost_us) / 1e6) if found else None
            if mine:
                return self._computed(name, keys, token, compute, old, generation)
            if old is not None:
                return old
            if time.monotonic() > give_up_at:
                return Cached(compute(), 0.0)
            time.sleep(random.uniform(0.5, 1.5) * _NAP_S)

    def _computed(
        self, name: str, keys: list[str], token: str, compute: Callable[[], Any], old: Cached | None, generation: str
    ) -> Cached:
        began = time.monotonic()
        try:
            value = compute()
            text = json.dumps(value)
        except Exception as error:
            if old is not None:
                # The turn is kept for a while, so that not every reader runs into the same trouble again.
                self._end_turn(keys, token, self._retry_s)
                logger.warning("%s could not be computed, the value of %.0f s ago stands: %s", name, old.age_s, error)
                return old
            self._end_turn(keys, token, 0.0)
            raise
        cost_s = time.monotonic() - began
        hard_s = max(self._hard_s, 2 * self._rest_times * cost_s)
        try:
            with TryingTo(f"keep {name}"):
                _STORE(self._client, keys, token, text, int(hard_s * 1000), int(cost_s * 1e6), generation)
        except LockUnavailable as error:
            # Computed already: not once more.
            logger.warning("%s", error)
        return Cached(json.loads(text), 0.0, cost_s)

    def _end_turn(self, keys: list[str], token: str, after_s: float) -> None:
        try:
            with TryingTo("end a turn at computing"):
                _END_TURN(self._client, keys[1:], token, int(after_s * 1000))
        except LockUnavailable as error:
            logger.debug("%s", error)

    def _keys(self, name: str) -> list[str]:
        digest = digest_of(name)
        return [CACHE_PREFIX + digest, f"{CACHE_PREFIX}turn:{digest}"]
