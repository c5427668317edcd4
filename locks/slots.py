"""A shared limit on concurrency: at most so many holders of a name at once, over all workers of all hosts."""

from __future__ import annotations

import random
import secrets
import time
from dataclasses import dataclass, field

import redis

from .client import TryingTo
from .holder import Holder, holder_value, read_holder
from .keys import Json, canonical_json, digest_of
from .scripts import Script

SLOTS_PREFIX = "holdfast:slots:"
_LONGEST_TTL_S = 600
_LONGEST_NAP_S = 0.5
_SHORTEST_NAP_S = 0.01

# KEYS: holders, a sorted set of what holders wrote, by when their lease ends.
# Who is dead drops out here, so nobody has to clean up.  A lease can only end that far ahead if Redis' clock went back.
_COMMON = f"""
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local function keep(member, us)
  redis.call('ZADD', KEYS[1], string.format('%.0f', now + us), member)
  redis.call('PEXPIRE', KEYS[1], {_LONGEST_TTL_S * 1000})
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], string.format('%.0f', now + {_LONGEST_TTL_S}000001), '+inf')) do
  keep(member, {_LONGEST_TTL_S}000000)
end
"""

# ARGV: what we write, microseconds, how many may.  Again with the same text: it is the same holding.
_TAKE = Script(
    _COMMON
    + """
if redis.call('ZSCORE', KEYS[1], ARGV[1]) or redis.call('ZCARD', KEYS[1]) < tonumber(ARGV[3]) then
  keep(ARGV[1], tonumber(ARGV[2]))
  return 1
end
return 0
"""
)
_RENEW = Script(
    _COMMON
    + """
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
keep(ARGV[1], tonumber(ARGV[2]))
return 1
"""
)
# KEYS: also the list on which those who wait are woken, the longest waiting one first.
_RELEASE = Script("""
if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('LPUSH', KEYS[2], '1')
redis.call('LTRIM', KEYS[2], 0, tonumber(ARGV[2]) - 1)
redis.call('PEXPIRE', KEYS[2], 1000)
return 1
""")
_SHOW = Script(
    _COMMON
    + """
local answer = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 2, #answer, 2 do answer[i] = string.format('%.0f', (tonumber(answer[i]) - now) / 1000) end
return answer
"""
)


class SharedSlots:
    """At most ``limit`` holders of ``name``, any JSON value, at once.

    ``ttl_s``  seconds after which a holder that neither renewed nor released has dropped out; at most 600
    ``owner``  who we are, for operators

    All users of a name give the same ``limit``.  A quick no and not a proof, as every lease: who is stopped for longer
    than ``ttl_s`` has lost its place without noticing.  For example, at most four requests to a shop at a time::

        requests = SharedSlots(client, ["shop", 7], limit=4, ttl_s=60, owner="sync0@web1")
        place = requests.take(wait_s=1)
        if place is None:
            raise Snooze(delay_s=5)
        try:
            ...
        finally:
            place.release()
    """

    def __init__(self, client: redis.Redis, name: Json, *, limit: int, ttl_s: float, owner: str) -> None:
        if limit < 1 or not 0.001 <= ttl_s <= _LONGEST_TTL_S:
            raise ValueError(
                f"SharedSlots(limit={limit}, ttl_s={ttl_s}): give at least one place, and at most {_LONGEST_TTL_S} s"
            )
        self.name = canonical_json(name)
        self.limit = limit
        self.ttl_s = ttl_s
        self.owner = owner
        digest = digest_of(self.name)
        self._client = client
        self._keys = [SLOTS_PREFIX + digest, f"{SLOTS_PREFIX}wake:{digest}"]

    def take(self, wait_s: float = 0.0) -> Place | None:
        """A place, or None if all were taken for ``wait_s`` seconds.  Raises `LockUnavailable`."""
        place = Place(self, holder_value(self.name, self.owner, secrets.token_hex(16)))
        give_up_at = time.monotonic() + wait_s
        while not place.try_take():
            left_s = give_up_at - time.monotonic()
            if left_s <= 0:
                return None
            nap_s = max(_SHORTEST_NAP_S, min(left_s, random.uniform(0.5, 1.0) * _LONGEST_NAP_S))
            with TryingTo(f"wait for a place at {self.name}"):
                self._client.blpop([self._keys[1]], timeout=nap_s)
        return place

    def holders(self) -> list[Holder]:
        """Who holds a place now.  Raises `LockUnavailable`."""
        with TryingTo(f"look who holds places at {self.name}"):
            answer = _SHOW(self._client, self._keys[:1])
        found = (read_holder(value, int(left)) for value, left in zip(answer[::2], answer[1::2], strict=True))
        return [holder for holder in found if holder is not None]


@dataclass(slots=True)
class Place:
    """One of the places, held.  ``valid_until``: until when we may believe so, by `time.monotonic`."""

    slots: SharedSlots
    value: str
    valid_until: float = field(default=0.0)

    def try_take(self) -> bool:
        """Take the place if there is one; asked again, it is the same one.  Raises `LockUnavailable`."""
        asked_at = time.monotonic()
        with TryingTo(f"take a place at {self.slots.name}"):
            mine = bool(_TAKE(self._client, self._keys[:1], self.value, self._ttl_us, self.slots.limit))
        return self._held_from(asked_at, mine)

    def renew(self) -> bool:
        """Have it last ``ttl_s`` seconds from now; False if it is lost.  Raises `LockUnavailable`."""
        asked_at = time.monotonic()
        with TryingTo(f"renew a place at {self.slots.name}"):
            mine = bool(_RENEW(self._client, self._keys[:1], self.value, self._ttl_us))
        return self._held_from(asked_at, mine)

    def release(self) -> bool:
        """Free it; False if it was lost before.  Raises `LockUnavailable`: it then frees itself."""
        self.valid_until = 0.0
        with TryingTo(f"release a place at {self.slots.name}, it frees itself within {self.slots.ttl_s:g} s"):
            return bool(_RELEASE(self._client, self._keys, self.value, self.slots.limit))

    def _held_from(self, asked_at: float, mine: bool) -> bool:
        self.valid_until = asked_at + self.slots.ttl_s if mine else 0.0
        return mine

    @property
    def _client(self) -> redis.Redis:
        return self.slots._client

    @property
    def _keys(self) -> list[str]:
        return self.slots._keys

    @property
    def _ttl_us(self) -> int:
        return int(self.slots.ttl_s * 1e6)
