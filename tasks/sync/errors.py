"""What can be wrong with a sync as a whole, and with one value of it."""

from __future__ import annotations

from tasks.sync.remote_errors import RateLimited


class SyncError(Exception):
    """Base of every error that the sync itself raises; the message says what to change."""


class BadConnection(SyncError):
    """A connection or a kind of record that is not declared, declared wrongly, or lacks its address or secret."""


class BadTable(SyncError):
    """The table of a kind of record is not there, or not what its declaration says."""


class TooManyDeletes(SyncError):
    """A run would delete more than its share: none was made."""


class ListingLost(SyncError):
    """The API forgets the place in its listing faster than the listing comes to its end."""


class NotResolvable(SyncError):
    """A conflict cannot be resolved as asked."""


class NoConflict(NotResolvable):
    """There is no conflict of this number."""


class RowMoved(NotResolvable):
    """The row's value is not the one that was shown any more; ``value``: what it is now."""

    def __init__(self, message: str, *, value: object) -> None:
        super().__init__(message)
        self.value = value


class Unfit(ValueError):
    """A value that its column cannot keep exactly; ``code`` names the reason, ``column`` the place."""

    def __init__(self, code: str, column: str, reason: str) -> None:
        super().__init__(f"{column}: {reason}")
        self.code = code
        self.column = column


class NotNow(RateLimited):
    """The shared limits let no request start for ``wait_s`` seconds: nothing was sent."""

    def __init__(self, message: str, *, wait_s: float) -> None:
        super().__init__(message, retry_after_s=wait_s, status=None)
        self.wait_s = wait_s
