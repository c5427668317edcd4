"""One alert per cause: what is bad only because something else is broken does not call for itself.

========================== =========================================================================
what is broken             what follows from it
========================== =========================================================================
redis                      the broker, where it is the same server
redis, the broker          starts, work and backlogs: nothing goes out
the workers on a queue     its work, the backlogs of its kinds; of the control queue: starts
the dispatchers            backlogs: what waits for a retry or was lost goes out by them
========================== =========================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from ops.checks import Check


def consequences(
    checks: Sequence[Check], kinds_of: Mapping[str, Sequence[str]], control_queue: str, *, one_redis: bool
) -> set[str]:
    """The names of the checks that are bad because of another one that failed, or that nobody needs to be called for.

    ``kinds_of``  queue → its kinds;  ``one_redis``  whether locks and messages are in one server
    """
    failed = {check.name for check in checks if check.level == "fail"}
    # A pool that is off on purpose is no alert; as soon as something waits for it, the check fails.
    found = {check.name for check in checks if check.level == "warn" and check.name.startswith("workers on ")}
    if "redis" in failed and one_redis:
        found.add("broker")
    queues = set(kinds_of)
    if "broker" not in failed:
        queues = {queue for queue in queues if f"workers on {queue}" in failed}
    for queue in queues:
        found |= {f"work on {queue}", *(f"backlog of {kind}" for kind in kinds_of[queue])}
    if "broker" in failed or f"workers on {control_queue}" in failed:
        found.add("starts")
    if "dispatchers" in failed:
        found |= {f"backlog of {kind}" for kinds in kinds_of.values() for kind in kinds}
    return found


def same_server(one: str, other: str) -> bool:
    """Whether two URLs lead to the same server, whatever database of it."""
    first, second = urlsplit(one), urlsplit(other)
    return (first.hostname, first.port) == (second.hostname, second.port) and first.hostname is not None
