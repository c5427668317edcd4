"""Errors of the command line."""


class OpsError(Exception):
    """Base of the errors that `ops` raises."""


class UsageError(OpsError):
    """The command cannot be meant like this; the message says what can."""


class NotAsSeen(OpsError):
    """What the operator looked at has changed since; nothing was done, and the message says what it is now."""
