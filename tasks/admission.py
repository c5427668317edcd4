"""Admission: who may go from requested to planning, decided under the key's lock and in MySQL."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from locks import LockUnavailable, TokenLock
from runstate import plans, runs
from runstate.errors import is_duplicate
from runstate.runs import Run
from runstate.stale import stale_since
from runstate.statuses import RunStatus
from runstate.transaction import in_transaction
from tasks import clients, failpoints, metrics
from tasks.describe import about_start
from tasks.kinds import JobKind
from tasks.publish import publish_jobs
from tasks.registry import kinds_by_queue
from tasks.settings import settings

log = logging.getLogger("holdfast.admission")

REASON_RUNNING = "already running"


@dataclass(frozen=True, slots=True)
class Admitted:
    """How an admission ended: ``run`` as it stands now; ``fresh`` is False when it had been decided before."""

    run: Run
    fresh: bool


def admit_run(kind: JobKind, run_id: str) -> Admitted:
    """Decide a requested start: ``planning`` with its fence and job 0, or ``refused`` by the run that holds the key.

    Deciding twice changes nothing: the same start delivered again is the same run.  Raises `NotFound` if there is no such
    run, `DatabaseUnavailable` if MySQL stays away.
    """
    engine = clients.engine()
    run = in_transaction(engine, lambda c: runs.get(c, run_id), wait_for_database_s=5)
    if run.status is not RunStatus.REQUESTED or (run.not_before is not None and run.not_before > run.seen_at):
        return Admitted(run, fresh=False)
    with _lock(run):
        failpoints.hit("admission.locked")

        def decide(connection: Connection) -> Run:
            decided = _decide(connection, kind, run_id)
            failpoints.hit("admission.before_commit", connection)
            return decided

        def committed(connection: Connection) -> Run | None:
            # A failed COMMIT is unknown: the run's own row, once it can be locked, tells.
            found = runs.find(connection, run_id, lock=True)
            return found if found is not None and found.status is not RunStatus.REQUESTED else None

        try:
            run = in_transaction(engine, decide, wait_for_database_s=30, committed=committed)
        except IntegrityError as error:
            if not is_duplicate(error, "uq_runs_active_key"):
                raise
            # The unique key is the final no, and it is a refusal, not an error.
            run = in_transaction(engine, decide, wait_for_database_s=30, committed=committed)
    failpoints.hit("admission.after_commit")
    outcome = "refused" if run.status is RunStatus.REFUSED else "admitted"
    metrics.count("holdfast_admissions_total", kind=kind.name, outcome=outcome)
    if run.status is RunStatus.PLANNING:
        publish_jobs(kind, run_id, [0], about=about_start(kind, run_id, run.args))
    return Admitted(run, fresh=True)


def _decide(connection: Connection, kind: JobKind, run_id: str) -> Run:
    """In one transaction: raise the key's fence (the database's own mutex), look, admit or refuse."""
    run = runs.get(connection, run_id)
    if run.status is not RunStatus.REQUESTED:
        return run
    fence = 1
    if run.admission_hash is not None:
        fence = runs.raise_fence(connection, run.admission_hash)
        active = runs.find_active(connection, run.admission_hash)
        if active is not None:
            runs.set_refused(connection, run_id, active.run_id, refusal_reason(connection, active, kind))
            return runs.get(connection, run_id)
    # Jobs before runs: the lock order of every transaction.
    plans.insert_job_zero(connection, run_id)
    if not runs.set_planning(connection, run_id, fence):
        connection.rollback()
    return runs.get(connection, run_id)


def refusal_reason(connection: Connection, active: Run, kind: JobKind) -> str:
    """Why a start is refused: which run is in the way and how alive it is."""
    neighbours = [other.name for other in kinds_by_queue()[kind.queue]]
    since = stale_since(connection, active, kind.stale_after_s, neighbours)
    if since is not None:
        return (
            f"run {active.run_id} holds the key and is stale since {since:%Y-%m-%d %H:%M:%S} UTC; "
            f"recover it first: python -m ops runs recover {active.run_id}"
        )
    if active.status is RunStatus.PAUSED:
        return f"run {active.run_id} holds the key and is paused; resume or cancel it: python -m ops runs resume {active.run_id}"
    beat = active.heartbeat_at or active.started_at
    age_s = (active.seen_at - beat).total_seconds() if beat else 0.0
    return f"{REASON_RUNNING}: run {active.run_id} is {active.status.value}, last heartbeat {age_s:.0f} s ago"


@contextmanager
def _lock(run: Run) -> Iterator[None]:
    """Hold the key's lock if it can be had: contenders take turns here and do not queue up inside MySQL.

    Held by another for a whole TTL, or Redis away: decide in MySQL alone.  Never refuse because of the lock alone.
    """
    if run.admission_key is None:
        yield
        return
    ttl_s, began = settings().lock_ttl_s, time.monotonic()
    lock = TokenLock(clients.redis(), ["admission", run.kind, run.admission_key], ttl_s, clients.who())
    try:
        if not lock.acquire(wait_s=ttl_s):
            log.info(
                "admission lock of %s held for %.1f s: deciding run %s in MySQL", run.admission_key, ttl_s, run.run_id
            )
    except LockUnavailable as error:
        log.warning("deciding run %s in MySQL alone: %s", run.run_id, error)
    metrics.observe("holdfast_admission_lock_seconds", time.monotonic() - began, kind=run.kind)
    try:
        yield
    finally:
        try:
            lock.release()
        except LockUnavailable as error:
            log.warning("run %s: %s", run.run_id, error)
