"""The run row from request to admission, and looking it up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from runstate import documents
from runstate.errors import NotFound, is_duplicate
from runstate.statuses import ACTIVE, ENDED, RunStatus

START_GRACE_S = 5
"""How long a start's own message has before the dispatcher publishes another."""

_COLUMNS = (
    "run_id, kind, admission_key, admission_hash, idempotency_key, fence, status, args, canvas, jobs_total, jobs_done, "
    "jobs_dead, jobs_cancelled, requested_at, requested_by, not_before, started_at, heartbeat_at, progress_at, finished_at, "
    "refused_by, reason, parent_run_id, replay, result, NOW(6) AS seen_at"
)


@dataclass(frozen=True, slots=True)
class Run:
    """A snapshot of one row of ``runs``; times are naive UTC from the database's clock, ``seen_at`` is when it was read."""

    run_id: str
    kind: str
    admission_key: str | None
    admission_hash: str | None
    idempotency_key: str | None
    fence: int
    status: RunStatus
    args: Mapping[str, Any]
    canvas: Mapping[str, Any] | None
    jobs_total: int
    jobs_done: int
    jobs_dead: int
    jobs_cancelled: int
    requested_at: datetime
    requested_by: str
    not_before: datetime | None
    started_at: datetime | None
    heartbeat_at: datetime | None
    progress_at: datetime | None
    finished_at: datetime | None
    refused_by: str | None
    reason: str | None
    parent_run_id: str | None
    replay: Mapping[str, Any] | None
    result: Mapping[str, Any] | None
    seen_at: datetime

    @property
    def active(self) -> bool:
        """Whether it holds its admission key."""
        return self.status in ACTIVE

    @property
    def ended(self) -> bool:
        """Whether nothing about it will change any more."""
        return self.status in ENDED

    @property
    def jobs_open(self) -> int:
        """Planned jobs that are not accounted for yet."""
        return self.jobs_total - self.jobs_done - self.jobs_dead - self.jobs_cancelled


@dataclass(frozen=True, slots=True)
class Request:
    """A start as it is written down."""

    run_id: str
    kind: str
    admission_key: str | None
    args: Mapping[str, Any]
    requested_by: str
    idempotency_key: str | None = None
    not_before: datetime | None = None
    canvas: Mapping[str, Any] | None = None
    parent_run_id: str | None = None
    replay: Mapping[str, Any] | None = None
    aside: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Lists that do not fit into ``args`` (`runstate.spool`)."""

    @property
    def admission_hash(self) -> str | None:
        return None if self.admission_key is None else documents.admission_hash(self.kind, self.admission_key)


def insert_request(connection: Connection, request: Request, *, message_follows: bool) -> bool:
    """Write a start down as ``requested``; return False if its run id or its idempotency key is there already.

    ``message_follows``  the caller publishes right after the commit, so the dispatcher waits `START_GRACE_S` before it does;
                         without it (`enqueue`) the dispatcher publishes at its next round.
    """
    try:
        connection.execute(
            text(
                "INSERT INTO runs (run_id, kind, admission_key, admission_hash, idempotency_key, status, args, canvas,"
                " requested_at, requested_by, not_before, publish_due_at, parent_run_id, replay)"
                " VALUES (:run_id, :kind, :admission_key, :admission_hash, :idempotency_key, 'requested', :args, :canvas,"
                " NOW(6), :requested_by, :not_before,"
                " GREATEST(NOW(6) + INTERVAL :grace_s SECOND, COALESCE(:not_before, NOW(6))), :parent_run_id, :replay)"
            ),
            {
                "run_id": request.run_id,
                "kind": request.kind,
                "admission_key": request.admission_key,
                "admission_hash": request.admission_hash,
                "idempotency_key": request.idempotency_key,
                "args": documents.dump(request.args),
                "canvas": documents.dump(request.canvas) if request.canvas else None,
                "requested_by": request.requested_by,
                "not_before": request.not_before,
                "grace_s": START_GRACE_S if message_follows else 0,
                "parent_run_id": request.parent_run_id,
                "replay": documents.dump(request.replay) if request.replay else None,
            },
        )
    except IntegrityError as error:
        if is_duplicate(error, "uq_runs_idempotency_key") or is_duplicate(error, "PRIMARY"):
            return False
        raise
    return True


def find(connection: Connection, run_id: str, *, lock: bool = False) -> Run | None:
    """The run, or None; with ``lock`` its row is locked (and then nothing else may be locked after it)."""
    row = (
        connection.execute(
            text(f"SELECT {_COLUMNS} FROM runs WHERE run_id = :run_id" + (" FOR UPDATE" if lock else "")),
            {"run_id": run_id},
        )
        .mappings()
        .one_or_none()
    )
    return None if row is None else as_run(row)


def get(connection: Connection, run_id: str) -> Run:
    """The run; raises `NotFound`."""
    run = find(connection, run_id)
    if run is None:
        raise NotFound(f"there is no run {run_id}")
    return run


def being_planned(connection: Connection, admission_key: str, *, kind_ends: str) -> str | None:
    """The run that is being planned under this key, of a kind whose name ends so; None if there is none."""
    found: str | None = connection.scalar(
        text(
            "SELECT run_id FROM runs WHERE status = 'planning' AND admission_key = :admission_key AND kind LIKE :kinds"
        ),
        {"admission_key": admission_key, "kinds": f"%{kind_ends}"},
    )
    return found


def is_purged(connection: Connection, run_id: str) -> bool:
    """Whether retention has begun to forget a run; locks its row, so that it does not begin before this transaction ends."""
    return bool(
        connection.scalar(
            text("SELECT purged_at IS NOT NULL FROM runs WHERE run_id = :run_id FOR UPDATE"), {"run_id": run_id}
        )
    )


def find_by_idempotency_key(connection: Connection, kind: str, key: str) -> Run | None:
    """The run that took this idempotency key of this kind, whatever became of it."""
    row = (
        connection.execute(
            text(f"SELECT {_COLUMNS} FROM runs WHERE kind = :kind AND idempotency_key = :key"),
            {"kind": kind, "key": key},
        )
        .mappings()
        .one_or_none()
    )
    return None if row is None else as_run(row)


def find_active(connection: Connection, admission_hash: str) -> Run | None:
    """The run that holds this key, or None."""
    row = (
        connection.execute(
            text(f"SELECT {_COLUMNS} FROM runs WHERE active_key = :admission_hash"), {"admission_hash": admission_hash}
        )
        .mappings()
        .one_or_none()
    )
    return None if row is None else as_run(row)


def as_run(row: Mapping[Any, Any]) -> Run:
    """A `Run` from a row with all of its columns."""
    values = dict(row)
    values["status"] = RunStatus(values["status"])
    for name in ("args", "canvas", "replay", "result"):
        values[name] = documents.load(values[name])
    return Run(**values)


def raise_fence(connection: Connection, admission_hash: str) -> int:
    """The key's next fence; its row stays locked until the transaction ends, so that admissions of a key take turns."""
    connection.execute(
        text(
            "INSERT INTO fences (admission_hash, fence) VALUES (:admission_hash, LAST_INSERT_ID(1))"
            " ON DUPLICATE KEY UPDATE fence = LAST_INSERT_ID(fence + 1)"
        ),
        {"admission_hash": admission_hash},
    )
    return int(connection.scalar(text("SELECT LAST_INSERT_ID()")))


def set_planning(connection: Connection, run_id: str, fence: int) -> bool:
    """requested → planning. Raises IntegrityError on ``uq_runs_active_key`` if another run holds the key."""
    return (
        connection.execute(
            text(
                "UPDATE runs SET status = 'planning', fence = :fence, started_at = NOW(6), heartbeat_at = NOW(6),"
                " progress_at = NOW(6), publish_due_at = NULL WHERE run_id = :run_id AND status = 'requested'"
            ),
            {"run_id": run_id, "fence": fence},
        ).rowcount
        == 1
    )


def set_refused(connection: Connection, run_id: str, refused_by: str, reason: str) -> bool:
    """requested → refused."""
    return _end_request(connection, run_id, "refused", refused_by, reason)


def set_unadmitted(connection: Connection, run_id: str, status: RunStatus, reason: str) -> bool:
    """requested → failed or cancelled, before admission."""
    return _end_request(connection, run_id, status.value, None, reason)


def _end_request(connection: Connection, run_id: str, status: str, refused_by: str | None, reason: str) -> bool:
    return (
        connection.execute(
            text(
                "UPDATE runs SET status = :status, refused_by = :refused_by, reason = :reason, finished_at = NOW(6),"
                " publish_due_at = NULL WHERE run_id = :run_id AND status = 'requested'"
            ),
            {"run_id": run_id, "status": status, "refused_by": refused_by, "reason": documents.capped(reason)},
        ).rowcount
        == 1
    )
