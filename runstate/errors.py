"""Errors of the run state, one class per decision that a caller can take; driver errors are translated here."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError

LOCK_WAIT_TIMEOUT, DEADLOCK, RECORD_CHANGED = 1205, 1213, 1020
REDO_CODES = frozenset({LOCK_WAIT_TIMEOUT, DEADLOCK, RECORD_CHANGED})
"""The one list of errors after which the whole transaction is done again, never one statement of it:
after 1205 the server keeps what went before, after 1213 it has dropped it, 1020 is MariaDB's snapshot conflict."""

LOST_CODES = frozenset({0, 1040, 1053, 1152, 1158, 1159, 1160, 1161, 1203, 1927, 2002, 2003, 2006, 2013, 2055})
"""The connection is gone or cannot be had: server shutting down, killed, unreachable, or out of connections."""

DUPLICATE_KEY = 1062


class RunstateError(Exception):
    """Base of every error that `runstate` raises."""


class DatabaseUnavailable(RunstateError):
    """MySQL cannot be reached or cut the connection; nothing of the transaction was committed."""


class CommitUnknown(RunstateError):
    """The connection was lost during COMMIT, and whether it happened could not be found out."""


class BadSession(RunstateError):
    """A new connection does not have the settings that the protocol stands on."""


class NotFound(RunstateError):
    """There is no such run, job or dead letter."""


class Fenced(RunstateError):
    """The claim or the run's fence is no longer held: the transaction was rolled back, nothing was written.

    ``what`` is ``claim`` (the job is somebody else's now) or ``run`` (its status or fence moved on).
    """

    def __init__(self, what: str, message: str) -> None:
        super().__init__(message)
        self.what = what


def mysql_code(error: BaseException) -> int | None:
    """The server's or the driver's error number, or None where there is none."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    args = getattr(origin, "args", ())
    return args[0] if args and isinstance(args[0], int) else None


def must_redo(error: BaseException) -> bool:
    """Whether the whole transaction is to be done again."""
    return mysql_code(error) in REDO_CODES


def is_lost(error: BaseException) -> bool:
    """Whether the connection is gone or could not be had."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return isinstance(error, OSError | EOFError) or mysql_code(error) in LOST_CODES


def is_duplicate(error: BaseException, key_name: str) -> bool:
    """Whether a unique key called ``key_name`` said no."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    return mysql_code(error) == DUPLICATE_KEY and key_name in str(origin)
