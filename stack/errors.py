"""What can go wrong when a stack is set up; every message says what to do."""

from __future__ import annotations


class StackError(Exception):
    """Base of the errors of `stack`."""


class ServerMissing(StackError):
    """A server's program is neither installed nor obtainable here."""


class ServerFailed(StackError):
    """A server was started and did not come up, or would not stop."""
