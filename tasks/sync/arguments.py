"""What a sync can be started with, checked when the start is made."""

from __future__ import annotations

import re
from typing import Any

from tasks.errors import BadArguments
from tasks.sync.connections import SyncKind, connection_named
from tasks.sync.errors import BadConnection
from tasks.sync.webhook import MAX_BODY_BYTES

DIRECTIONS = ("both", "pull", "push")
_SECRET_HEADER = re.compile(r"authorization|cookie|token|secret|password|api-?key", re.IGNORECASE)
"""Headers that no signature needs and no table should keep; a signature's own header is kept whatever it is called."""


def sync_arguments(
    connection: str,
    kind: str,
    *,
    direction: str = "both",
    full: bool = False,
    dry_run: bool = False,
    allow_deletes: bool = False,
) -> dict[str, Any]:
    """``start_sync.delay(connection, kind, …)``.

    ``connection``, ``kind``  as declared; ``direction``: ``both``, ``pull``, ``push``
    ``full``           list every record and compare every row, instead of what changed since the last run
    ``dry_run``        make a plan of what would be written on both sides, and write nothing
    ``allow_deletes``  delete however many it may be: a person has looked

    Raises `BadArguments`.
    """
    declared(connection, kind)
    if direction not in DIRECTIONS:
        raise BadArguments(f"direction={direction!r}: both, pull or push")
    for name, value in (("full", full), ("dry_run", dry_run), ("allow_deletes", allow_deletes)):
        if not isinstance(value, bool):
            raise BadArguments(f"{name}={value!r}: True or False")
    return {
        "connection": connection,
        "kind": kind,
        "direction": direction,
        "full": full,
        "dry_run": dry_run,
        "allow_deletes": allow_deletes,
    }


def declared(connection: str, kind: str) -> SyncKind:
    """The kind of record, as declared here; raises `BadArguments`."""
    if not isinstance(connection, str) or not isinstance(kind, str):
        raise BadArguments(f"connection={connection!r}, kind={kind!r}: give their names")
    try:
        return connection_named(connection).kind(kind)
    except BadConnection as error:
        raise BadArguments(str(error)) from error


def apply_arguments(plan_id: str) -> dict[str, Any]:
    """``apply_plan.delay(plan_id)``: the run that made the plan.  Raises `BadArguments`."""
    if not isinstance(plan_id, str) or not 0 < len(plan_id) <= 36:
        raise BadArguments(f"plan_id={plan_id!r}: give the id of the run that made the plan")
    return {"plan_id": plan_id}


def webhook_arguments(connection: str, headers: dict[str, str], body: str | bytes) -> dict[str, Any]:
    """``receive_webhook.delay(connection, headers, body)``: a delivery as it came, the body as text.  Raises `BadArguments`."""
    try:
        connection_named(connection)
    except BadConnection as error:
        raise BadArguments(str(error)) from error
    if not isinstance(body, str | bytes) or len(body) > MAX_BODY_BYTES:
        raise BadArguments(f"body: the request's body as it came, at most {MAX_BODY_BYTES} bytes")
    try:
        text = body.decode() if isinstance(body, bytes) else body
        size = len(text.encode())
    except UnicodeError:
        raise BadArguments("body: not UTF-8, so it is no JSON") from None
    if size > MAX_BODY_BYTES:
        raise BadArguments(f"body: {size} bytes, at most {MAX_BODY_BYTES}")
    if not isinstance(headers, dict) or not all(isinstance(k, str) and isinstance(v, str) for k, v in headers.items()):
        raise BadArguments("headers: a dict of texts, as the request had them")
    kept = {name: value for name, value in headers.items() if _may_be_kept(name)}
    return {"connection": connection, "headers": kept, "body": text}


def _may_be_kept(header: str) -> bool:
    return "signature" in header.lower() or not _SECRET_HEADER.search(header)
