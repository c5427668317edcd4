"""The keeper: a thread that extends a held lock, and tells the work when the lock is lost.

Renewal that dies alone is worse than none, because the work believes in it.  So every way of losing the lock is noticed
here: another holder, a deleted key, a Redis that does not answer until the time is up, a thread that died, a fork.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import redis

from .errors import LockHeld, LockLost, LockUnavailable
from .keys import Json
from .token_lock import TokenLock

logger = logging.getLogger(__name__)


class Keeper:
    """Extends ``lock``, which must be held, at a third of its time to live, until `stop`.

    The work asks `check` (or `lost`) before each step that needs the lock.  These are exact: they go by our own
    monotonic clock, not by what Redis said last.  ``on_lost(reason)`` is called once, in the keeper's thread;
    against a hung Redis it may come one client time-out late.
    """

    def __init__(self, lock: TokenLock, on_lost: Callable[[str], None] | None = None) -> None:
        self._lock = lock
        self._on_lost = on_lost
        self._stop = threading.Event()
        self._reason: str | None = None
        self._thread = threading.Thread(target=self._run, name=f"lock-keeper {lock.key[-12:]}", daemon=True)

    def start(self) -> None:
        """Start extending."""
        self._thread.start()

    def stop(self) -> None:
        """Stop extending; waits for an extension under way, which the client's time-outs bound."""
        self._stop.set()
        self._thread.join()

    @property
    def lost(self) -> str | None:
        """Why the lock is lost, or None while we may believe that we hold it.  Cheap: no call to Redis."""
        if self._reason is None and time.monotonic() >= self._lock.valid_until:
            # Also what a work sees that was itself stopped (SIGSTOP, swapping) for longer than the lock lives.
            self._reason = f"it could not be extended within its {self._lock.ttl_s:g} s"
        if self._reason is None and not self._stop.is_set() and not self._thread.is_alive():
            self._reason = "the thread that extends it is gone"
        return self._reason

    def check(self) -> None:
        """Raise `LockLost` if the lock is lost."""
        if reason := self.lost:
            raise LockLost(self._lock.name, reason)

    def _run(self) -> None:
        try:
            self._extend_until_stopped()
        except BaseException as error:
            self._reason = f"the thread that extends it died of {type(error).__name__}: {error}"
            raise
        finally:
            if not self._stop.is_set() and self._on_lost is not None:
                self._on_lost(self.lost or "the thread that extends it ended")

    def _extend_until_stopped(self) -> None:
        pause_s = self._lock.ttl_s / 3
        while not self._stop.wait(min(pause_s, max(0.0, self._lock.valid_until - time.monotonic()))):
            if self.lost:
                return
            try:
                if not self._lock.extend():
                    self._reason = "its key was deleted, or expired, or belongs to somebody else"
                    return
                pause_s = self._lock.ttl_s / 3
            except LockUnavailable as error:
                logger.warning("%s; %.1f s left", error, self._lock.valid_until - time.monotonic())
                pause_s = self._lock.ttl_s / 10


@contextmanager
def held(
    client: redis.Redis,
    name: Json,
    ttl_s: float,
    owner: str,
    wait_s: float = 0.0,
    on_lost: Callable[[str], None] | None = None,
) -> Iterator[Keeper]:
    """Hold the lock on ``name`` for as long as the block runs, extended by a `Keeper`, which the block gets.

    Raises `LockHeld` if somebody else held it for ``wait_s`` seconds, `LockUnavailable` if Redis is away, and at the
    end `LockLost` if the work finished but the lock had not lasted until then.  An error of the work itself is never
    replaced: what went wrong with the lock becomes a note on it.  For example::

        with held(client, ["sync", 7], ttl_s=30, owner="sync0@web1", wait_s=5) as keeper:
            for page in pages:
                keeper.check()
                store(page)
    """
    lock = TokenLock(client, name, ttl_s, owner)
    if not lock.acquire(wait_s):
        holder = lock.holder()
        raise LockHeld(lock.name, owner=holder.owner if holder else None, ttl_s=holder.ttl_s if holder else None)
    keeper = Keeper(lock, on_lost)
    keeper.start()
    try:
        yield keeper
    except BaseException as work_error:
        try:
            _let_go(lock, keeper)
        except (LockLost, LockUnavailable) as error:
            logger.warning("%s", error)
            work_error.add_note(str(error))
        raise
    else:
        _let_go(lock, keeper)


def _let_go(lock: TokenLock, keeper: Keeper) -> None:
    # Stopped first: an extension that comes after the release would find the key gone and call it a loss.
    keeper.stop()
    lost = keeper.lost
    try:
        if not lock.release():
            lost = lost or "it had expired or been taken when it was to be released"
    finally:
        if lost:
            # Over a LockUnavailable of the release too: that the work ran unprotected matters more.
            raise LockLost(lock.name, lost)
