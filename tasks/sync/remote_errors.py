"""What a call to the other side can end in besides its answer: one class for each decision that the caller can take."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.sync.connector import Record


class RemoteError(Exception):
    """Base of every error that a connector raises; ``status`` is the HTTP status where there was an answer.

    The message names the method, the path and what the other side said, capped and without credentials.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class RateLimited(RemoteError):
    """Too many requests (429): nothing was done.  ``retry_after_s``: not before so many seconds; None: it did not say."""

    def __init__(self, message: str, *, retry_after_s: float | None = None, status: int | None = 429) -> None:
        super().__init__(message, status=status)
        self.retry_after_s = retry_after_s


class Unavailable(RemoteError):
    """Nobody took the request (no connection, 503, 502 to a read …): nothing was done, and later it may be.

    ``retry_after_s``: not before so many seconds; None: it did not say.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None, status: int | None = None) -> None:
        super().__init__(message, status=status)
        self.retry_after_s = retry_after_s


class OutcomeUnknown(RemoteError):
    """A write was sent and no answer says what became of it (time-out, connection lost, 500, 502, 504).

    Never repeat it blindly: read the record (`Connector.get`, `Connector.find_created`) and decide by what is there.
    ``retry_after_s``: do not read before so many seconds; None: it did not say.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None, status: int | None = None) -> None:
        super().__init__(message, status=status)
        self.retry_after_s = retry_after_s


class VersionMoved(RemoteError):
    """The record is not at the version that the write was for (412, or seen by reading first): nothing was done.

    ``current``: the record as it is now, where the answer has it; None: read it.
    """

    def __init__(self, message: str, *, current: Record | None = None, status: int | None = None) -> None:
        super().__init__(message, status=status)
        self.current = current


class NotFound(RemoteError):
    """There is no such record (404, 410): deleted, or never there."""


class Rejected(RemoteError):
    """The other side will not take this request, however often it is sent (any other 4xx); ``body`` is its reason, capped."""

    def __init__(self, message: str, *, status: int | None = None, body: str = "") -> None:
        super().__init__(message, status=status)
        self.body = body


class CursorExpired(RemoteError):
    """The listing cannot be continued from this cursor (400, 404, 410): begin again from the last ``resume_cursor``."""


class BadAnswer(RemoteError):
    """The answer to a read cannot be used: not JSON, not of the expected shape, too long, a redirect to another host."""


class Unusable(RemoteError):
    """No request of this connection works until somebody mends it: a refused address, a certificate, a moved base URL."""


class AuthFailed(Unusable):
    """The credentials are missing, wrong or not enough (401, 403)."""
