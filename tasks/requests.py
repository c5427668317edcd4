"""Writing a start down: its arguments checked, its row in MySQL, before any message."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from runstate import documents, runs
from runstate import spool as stored_lists
from runstate.errors import CommitUnknown, DatabaseUnavailable
from runstate.runs import Request, Run
from runstate.transaction import in_transaction
from tasks import clients, spool
from tasks.errors import BadArguments, DatabaseDown, IdempotencyConflict, StartUnknown
from tasks.kinds import MAX_ARGS_BYTES, JobKind

MAX_KEY_CHARS = 512
MAX_IDEMPOTENCY_KEY_CHARS = 191


def make_request(
    kind: JobKind,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    run_id: str | None = None,
    not_before: datetime | None = None,
    canvas: Mapping[str, Any] | None = None,
    requested_by: str | None = None,
) -> Request:
    """Check the arguments of a start and make the request that is to be written.

    ``kwargs`` may hold ``idempotency_key``, which is the machinery's, not the kind's.  ``not_before`` is aware.
    Raises `BadArguments`, naming what is wrong.
    """
    given = dict(kwargs)
    idempotency_key = given.pop("idempotency_key", None)
    try:
        normal = kind.arguments(*args, **given)
    except TypeError as error:
        raise BadArguments(f"{kind.starts_as}: {error}") from error
    try:
        fitting, aside = spool.set_aside(kind, normal)
        size = len(documents.dump(fitting).encode())
    except (TypeError, ValueError) as error:
        raise BadArguments(f"{kind.starts_as}: arguments must be JSON: {error}") from error
    if size > MAX_ARGS_BYTES:
        raise BadArguments(
            f"{kind.starts_as}: the arguments have {size} bytes of JSON, at most {MAX_ARGS_BYTES} fit"
            + (f" (besides {', '.join(kind.spooled)})" if kind.spooled else "")
            + "; put long lists into a file"
        )
    key = kind.key_of(normal)
    if key is not None and not (isinstance(key, str) and 0 < len(key) <= MAX_KEY_CHARS):
        raise BadArguments(
            f"{kind.starts_as}: the admission key must be a text of 1 to {MAX_KEY_CHARS} characters, not {key!r}"
        )
    if idempotency_key is not None and not (
        isinstance(idempotency_key, str) and 0 < len(idempotency_key) <= MAX_IDEMPOTENCY_KEY_CHARS
    ):
        raise BadArguments(
            f"{kind.starts_as}: idempotency_key must be a text of 1 to {MAX_IDEMPOTENCY_KEY_CHARS} characters"
        )
    return Request(
        run_id=checked_run_id(run_id) if run_id else str(uuid.uuid4()),
        kind=kind.name,
        admission_key=key,
        args=fitting,
        aside=aside,
        requested_by=requested_by or clients.who(),
        idempotency_key=idempotency_key,
        not_before=None if not_before is None else not_before.astimezone(UTC).replace(tzinfo=None),
        canvas=canvas,
    )


def checked_run_id(task_id: str) -> str:
    """A Celery task id as a run id; raises `BadArguments` if it is no UUID."""
    try:
        return str(uuid.UUID(task_id))
    except ValueError:
        raise BadArguments(f"task_id={task_id!r}: a run's id is the text of a UUID; leave task_id out") from None


def write_request(request: Request) -> Run:
    """Write the request in a transaction of its own, and return the run that it stands for: its own, or the one that the
    idempotency key has led to before.

    Raises `DatabaseDown` within 3 s if MySQL does not answer, `StartUnknown` if it went away during COMMIT,
    `IdempotencyConflict` for a taken key with other arguments.
    """

    def steps(connection: Connection) -> Run:
        return insert_or_find(connection, request, message_follows=True)

    def committed(connection: Connection) -> Run | None:
        return runs.find(connection, request.run_id)

    try:
        return in_transaction(clients.start_engine(), steps, committed=committed)
    except CommitUnknown as error:
        raise StartUnknown(
            f"start_{request.kind}: whether run {request.run_id} was accepted is not known: {error}. If it was, it will "
            "run. Look it up when MySQL answers; with an idempotency_key, trying again is safe",
            run_id=request.run_id,
        ) from error
    except DatabaseUnavailable as error:
        raise DatabaseDown(
            f"start_{request.kind} was not accepted: {error}. Nothing will run; try again when MySQL answers "
            "(with an idempotency_key, trying again is safe in any case)"
        ) from error


def insert_or_find(connection: Connection, request: Request, *, message_follows: bool) -> Run:
    """Insert the request, or find the run that already stands for it.  Raises `IdempotencyConflict`."""
    if runs.insert_request(connection, request, message_follows=message_follows):
        for name, items in request.aside.items():
            stored_lists.store(connection, request.run_id, name, items)
        return runs.get(connection, request.run_id)
    found = runs.find(connection, request.run_id)
    if found is None and request.idempotency_key is not None:
        found = runs.find_by_idempotency_key(connection, request.kind, request.idempotency_key)
    if found is None:
        raise DatabaseDown(f"start_{request.kind}: a run with this id or key was there and is gone; try again")
    if found.kind != request.kind or documents.dump(found.args) != documents.dump(request.args):
        raise IdempotencyConflict(
            f"start_{request.kind}: idempotency key or id was taken by run {found.run_id} with other arguments; "
            "use a new key for a new start",
            run_id=found.run_id,
        )
    return found
