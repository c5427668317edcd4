"""Locks in Redis that a holder can lose but never share unknowingly, and limits that all workers share.  Knows Redis and
nothing else of the project.
"""

from .client import connect
from .epoch import read_epoch, set_epoch_if_absent
from .errors import BadLimit, BadLockName, LimiterUnavailable, LockHeld, LockLost, LocksError, LockUnavailable
from .holder import Holder
from .inspect import HeldLock, list_locks
from .keeper import Keeper, held
from .keys import lock_key
from .server import ServerFacts, server_facts
from .token_lock import TokenLock

__all__ = [
    "BadLimit",
    "BadLockName",
    "HeldLock",
    "Holder",
    "Keeper",
    "LimiterUnavailable",
    "LockHeld",
    "LockLost",
    "LockUnavailable",
    "LocksError",
    "ServerFacts",
    "TokenLock",
    "connect",
    "held",
    "list_locks",
    "lock_key",
    "read_epoch",
    "server_facts",
    "set_epoch_if_absent",
]
