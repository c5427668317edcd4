"""What applications and operators call besides the starts: plans, conflicts, rejects."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from runstate import audit as audit_log
from runstate.audit import Actor
from runstate.transaction import in_transaction
from tasks import clients
from tasks.errors import BadArguments
from tasks.result import StartResult
from tasks.start import start_task
from tasks.sync import conflicts, rejects
from tasks.sync.arguments import declared
from tasks.sync.errors import NoConflict, RowMoved
from tasks.sync.kind import SYNC
from tasks.sync.links import Pair
from tasks.sync.local import local_table
from tasks.sync.resolve import Choice, resolve
from tasks.sync.values import load


def plan_sync(connection: str, kind: str, *, direction: str = "both", full: bool = False) -> StartResult:
    """Start a run that writes nothing and makes a plan: its run id is the plan's, for `apply_plan.delay(plan_id)`."""
    started: StartResult = start_task(SYNC).delay(connection, kind, direction=direction, full=full, dry_run=True)
    return started


def resolve_conflict(
    conflict_id: int, choice: Choice, *, actor: str, reason: str, value: Any = None, dry_run: bool = False
) -> dict[str, Any]:
    """Settle a field that waits for a person: ``local``, ``remote``, or ``value`` with ``value=``; what was kept.

    The next run pushes what the API lacks.  ``dry_run`` raises what the act would raise, and changes nothing.
    Raises `tasks.sync.errors.NotResolvable` and `BadArguments`.
    """
    if choice not in ("local", "remote", "value"):
        raise BadArguments(f"choice={choice!r}: local, remote or value")
    who = Actor(actor, reason)
    with clients.engine().connect() as connection:
        asked = conflicts.get(connection, conflict_id)
    if asked is None:
        raise NoConflict(f"there is no conflict {conflict_id}; see `python -m ops sync conflicts list`")
    table = local_table(clients.engine(), declared(asked.connection, asked.kind))

    def steps(connection: Connection) -> dict[str, Any]:
        kept = resolve(connection, table, conflict_id, choice, value=value, by=actor)
        before = {"local": load(asked.local), "remote": load(asked.remote)}
        audit_log.write(connection, who, "resolve_conflict", f"sync_conflict:{conflict_id}", before, kept)
        if dry_run:
            raise _TakenBack(kept)
        return kept

    try:
        return in_transaction(clients.engine(), steps)
    except _TakenBack as tried:
        return tried.kept
    except RowMoved as moved:
        if not dry_run:
            # Whoever looks again sees what is there now, also where nobody told the sync of the change.
            current = moved.value
            in_transaction(clients.engine(), lambda c: conflicts.refresh(c, conflict_id, current))
        raise


class _TakenBack(Exception):
    """A dry run has come to its end: what it did is rolled back."""

    def __init__(self, kept: dict[str, Any]) -> None:
        super().__init__("dry run")
        self.kept = kept


def retry_rejects(connection: str, kind: str, *, actor: str, reason: str) -> int:
    """Have every reject of a kind of record tried again by the next run; how many there are."""
    declared(connection, kind)
    pair, who = Pair(connection, kind), Actor(actor, reason)

    def steps(database: Connection) -> int:
        some = rejects.take_all(database, pair)
        audit_log.write(database, who, "retry_sync_rejects", f"sync:{connection}/{kind}", {}, {"retried": some})
        return some

    return in_transaction(clients.engine(), steps)
