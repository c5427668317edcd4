"""The exit codes, which scripts may rely on."""

OK = 0
"""Done, and nothing is wrong."""
TROUBLE = 1
"""Refused, or something is wrong: a check failed, an alert fires, a run did not end well, a server is away."""
USAGE = 2
"""Not understood, or a reason, a choice or --force is missing; nothing was done."""
NOT_FOUND = 3
"""There is no such run, dead letter, lock, limit or campaign."""
INTERRUPTED = 130
"""^C, as a shell counts it."""
