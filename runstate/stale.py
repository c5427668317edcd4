"""Stale: active, not paused, with work due for long, and neither it nor its queue has moved in that time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, text

from runstate.active import BY_STATE
from runstate.runs import Run
from runstate.statuses import RunStatus

_JOBS = f"jobs {BY_STATE} WHERE run_id = :run_id AND state ="


def stale_since(connection: Connection, run: Run, stale_after_s: int, queue_kinds: Sequence[str]) -> datetime | None:
    """When the run's heartbeat last moved, if it is stale; None if it is healthy or waits behind others.

    ``queue_kinds``  the kinds that share the run's queue: while any of their runs beats, this one is waiting, not stale.
    """
    if run.status not in (RunStatus.PLANNING, RunStatus.RUNNING, RunStatus.CANCELLING) or run.heartbeat_at is None:
        return None
    horizon = run.seen_at - timedelta(seconds=stale_after_s)
    if run.heartbeat_at > horizon or not _due_before(connection, run.run_id, horizon):
        return None
    return None if _queue_moved_since(connection, queue_kinds, horizon) else run.heartbeat_at


def _due_before(connection: Connection, run_id: str, horizon: datetime) -> bool:
    return bool(
        connection.scalar(
            text(
                # Each state by itself, so that each is one look into (run_id, state, due_at): with OR between them, all done
                # jobs of a large run are read first; and without the hint the primary key is taken, with the same end.
                f"SELECT EXISTS (SELECT 1 FROM {_JOBS} 'pending' AND due_at <= :horizon)"
                f" OR EXISTS (SELECT 1 FROM {_JOBS} 'queued' AND due_at <= :horizon)"
                f" OR EXISTS (SELECT 1 FROM {_JOBS} 'running' AND lease_until <= :horizon)"
            ),
            {"run_id": run_id, "horizon": horizon},
        )
    )


def _queue_moved_since(connection: Connection, kinds: Sequence[str], horizon: datetime) -> bool:
    # Every claim renews or records within a lease, and both move its run's heartbeat, so the heartbeats tell.
    return bool(
        connection.scalar(
            text(
                "SELECT EXISTS (SELECT 1 FROM runs WHERE status IN ('planning', 'running', 'paused', 'cancelling')"
                " AND kind IN :kinds AND heartbeat_at > :horizon)"
            ).bindparams(bindparam("kinds", expanding=True)),
            {"kinds": list(kinds), "horizon": horizon},
        )
    )


def stale_runs(
    connection: Connection, queues: Sequence[Mapping[str, int]], *, most: int = 20
) -> list[tuple[str, datetime]]:
    """``(run_id, since)`` of up to ``most`` stale runs, those that were requested first.

    ``queues``  for each queue its kinds and their ``stale_after_s``.  The queue is asked first, once for all its runs: while
                anything on it moves, none of them is stale, however many wait.
    """
    now: datetime = connection.execute(text("SELECT NOW(6)")).scalar_one()
    found: list[tuple[str, datetime]] = []
    for after_s in queues:
        for kind, stale_after_s in after_s.items():
            horizon = now - timedelta(seconds=stale_after_s)
            if _queue_moved_since(connection, list(after_s), horizon):
                continue
            rows = connection.execute(
                text(
                    "SELECT run_id, heartbeat_at FROM runs WHERE kind = :kind AND status IN ('planning', 'running', 'cancelling')"
                    " AND heartbeat_at <= :horizon ORDER BY requested_at LIMIT :looked_at"
                ),
                {"kind": kind, "horizon": horizon, "looked_at": 10 * most},
            ).all()
            found += [(row.run_id, row.heartbeat_at) for row in rows if _due_before(connection, row.run_id, horizon)]
    return found[:most]
