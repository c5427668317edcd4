"""What can go wrong with a lock: one class per decision that a caller can take."""

from __future__ import annotations


class LocksError(Exception):
    """Base of every error that `locks` raises."""


class BadLockName(LocksError, ValueError):
    """The lock's name is not unambiguous JSON, so it has no key that two processes would agree on."""


class LockUnavailable(LocksError):
    """Redis cannot be reached or cannot serve: the lock answers nothing, neither yes nor no.

    ``doing`` is what was tried, ``cause`` the driver's own words.
    """

    def __init__(self, doing: str, cause: str) -> None:
        super().__init__(
            f"cannot {doing}: Redis is away ({cause}); decide without the lock, or try again when it is back"
        )
        self.doing = doing
        self.cause = cause


class LockHeld(LocksError):
    """Somebody else holds the lock.  ``owner`` and ``ttl_s`` are None if it was released while we looked."""

    def __init__(self, name: str, *, owner: str | None, ttl_s: float | None) -> None:
        who = (
            f"held by {owner} for at most {ttl_s:.1f} s more"
            if owner and ttl_s is not None
            else "was held until just now"
        )
        super().__init__(f"lock {name} {who}; wait longer (wait_s=) or come back later")
        self.name = name
        self.owner = owner
        self.ttl_s = ttl_s


class LockLost(LocksError):
    """The lock is not ours any more although the work goes on: stop, and write nothing that it was to protect.

    ``reason`` says how it was lost: taken or deleted, not extended in time, keeper stopped.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"lock {name} was lost: {reason}; stop the work, its exclusivity is gone")
        self.name = name
        self.reason = reason


class BadLimit(LocksError, ValueError):
    """What was given is no rate limit, or can never be met."""


class LimiterUnavailable(LockUnavailable):
    """Redis cannot say whether a limit leaves room: do nothing that the limit is to bound, and ask again later."""

    def __init__(self, doing: str, cause: str) -> None:
        super().__init__(doing, cause)
        self.args = (f"cannot {doing}: Redis is away ({cause}); do nothing that is limited until it is back",)
