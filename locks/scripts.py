"""Lua that Redis runs as one step.  Each compares the lock's whole value, so only its holder can change it."""

from __future__ import annotations

import hashlib
from typing import Any

import redis
from redis.exceptions import NoScriptError


class Script:
    """A Lua script, sent by its hash, and whole only where Redis does not know it (first use, restart, flush)."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, client: redis.Redis, keys: list[str], *args: str | int) -> Any:
        try:
            return client.evalsha(self.sha, len(keys), *keys, *args)
        except NoScriptError:
            return client.eval(self.source, len(keys), *keys, *args)


# KEYS: lock, wake list.  ARGV: the value we set.  The wake-up goes to one waiter, the longest waiting one.  It stays in
# the list for a second for one who is just about to wait; more than one entry would wake people for nothing.
RELEASE = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
if redis.call('LPUSH', KEYS[2], '1') > 1 then redis.call('LTRIM', KEYS[2], 0, 0) end
redis.call('PEXPIRE', KEYS[2], 1000)
return 1
""")

# KEYS: lock.  ARGV: the value we set, milliseconds.
EXTEND = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
""")
