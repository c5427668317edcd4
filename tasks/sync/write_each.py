"""Several writes: one request each, or in batches; and what to tell if the API stops halfway."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from tasks.sync.connector import Connector, Record, Write
from tasks.sync.remote_errors import AuthFailed, RateLimited, Rejected, RemoteError, Unavailable, Unusable

Outcome = Record | RemoteError | None
WHOLE_CONNECTION = (RateLimited, Unavailable, Unusable, AuthFailed)
"""What the next request would meet as well."""


def write_each(connector: Connector, writes: Sequence[Write]) -> list[Outcome]:
    """What became of each write, in their order; see `Connector.write_many`.

    Once the other side refuses everybody, nothing more is sent, and the rest has that error too.  It is raised only before
    anything was done: what was done must be told.
    """
    outcomes: list[Outcome] = []
    for write in writes:
        try:
            outcomes.append(write_one(connector, write))
        except WHOLE_CONNECTION as error:
            if not outcomes:
                raise
            return outcomes + [error] * (len(writes) - len(outcomes))
        except RemoteError as error:
            outcomes.append(error)
    return outcomes


def in_parts(writes: Sequence[Write], size: int, send: Callable[[Sequence[Write]], list[Outcome]]) -> list[Outcome]:
    """What became of each write, sent in batches of at most ``size``; see `Connector.write_many`.

    A batch that is refused as a whole (one entry that cannot be read, a body that is too long: nothing was done) is halved
    until the entry that is to blame stands alone, and the others are done.
    """
    outcomes: list[Outcome] = []
    todo = deque(writes[start : start + size] for start in range(0, len(writes), size))
    while todo:
        part = todo.popleft()
        try:
            outcomes += send(part)
        except WHOLE_CONNECTION as error:
            if not outcomes:
                raise
            # What earlier batches did must be told.
            return outcomes + [error] * (len(writes) - len(outcomes))
        except Rejected as error:
            if len(part) == 1:
                outcomes.append(error)
            else:
                half = len(part) // 2
                todo.extendleft((part[half:], part[:half]))
    return outcomes


def write_one(connector: Connector, write: Write) -> Record | None:
    """One write as the single call that it stands for.  Raises what that raises."""
    if write.op == "create":
        key = needed(write.idempotency_key, "idempotency_key", write)
        return connector.create(write.fields or {}, idempotency_key=key, remote_id=write.remote_id)
    remote_id = needed(write.remote_id, "remote_id", write)
    if write.op == "update":
        return connector.update(remote_id, write.fields or {}, if_version=write.if_version)
    connector.delete(remote_id, if_version=write.if_version)
    return None


def needed(value: str | None, name: str, write: Write) -> str:
    """A part that this write must have; raises `ValueError`."""
    if value is None:
        raise ValueError(f"Write({write.op!r}) needs {name}")
    return value
