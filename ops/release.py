"""Releasing somebody's lock: written down first, then done, and only the very holding that was looked at."""

from __future__ import annotations

from locks.forced import force_release
from runstate import audit
from runstate.audit import Actor
from runstate.transaction import in_transaction
from tasks import clients


def release(key: str, token: str, name: str, actor: Actor) -> bool:
    """Free the lock under ``key`` if it is still the holding with ``token``; False if it is not.

    Raises `locks.LockUnavailable`, `runstate.errors.DatabaseUnavailable`.
    """
    # Before the act, which is in another store: what is not in the log has not been done.
    in_transaction(
        clients.engine(),
        lambda c: audit.write(c, actor, "release_lock", f"lock:{name}"[:191], {"key": key, "token": token[:8]}, {}),
    )
    return force_release(clients.redis(), key, token)
