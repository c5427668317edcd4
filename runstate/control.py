"""What operators do to a run: pause, resume, cancel, recover. Each one transaction with its audit entry."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from runstate import audit, runs
from runstate.audit import Actor
from runstate.completion import end_run
from runstate.errors import RunstateError
from runstate.runs import Run
from runstate.statuses import RunStatus


class NotAllowed(RunstateError):
    """The run does not stand where this action can start from; ``run`` is how it stands."""

    def __init__(self, run: Run, message: str) -> None:
        super().__init__(message)
        self.run = run


class Moved(RunstateError):
    """The run's heartbeat moved since the operator looked: it lives; look again before recovering it."""

    def __init__(self, run: Run, message: str) -> None:
        super().__init__(message)
        self.run = run


def pause(connection: Connection, run_id: str, actor: Actor) -> Run:
    """running → paused: no new job starts, jobs in workers' hands stop at their next keep or checkpoint.

    Raises `NotAllowed`, `runstate.errors.NotFound`.
    """
    return _move(connection, run_id, actor, "pause", {RunStatus.RUNNING: RunStatus.PAUSED})


def resume(connection: Connection, run_id: str, actor: Actor) -> Run:
    """paused → running: the dispatcher lets due jobs out again.  Raises `NotAllowed`, `NotFound`."""
    return _move(connection, run_id, actor, "resume", {RunStatus.PAUSED: RunStatus.RUNNING})


def cancel(connection: Connection, run_id: str, actor: Actor) -> Run:
    """requested → cancelled; planning, running, paused → cancelling.  Raises `NotAllowed`, `NotFound`."""
    return _move(
        connection,
        run_id,
        actor,
        "cancel",
        {
            RunStatus.REQUESTED: RunStatus.CANCELLED,
            RunStatus.PLANNING: RunStatus.CANCELLING,
            RunStatus.RUNNING: RunStatus.CANCELLING,
            RunStatus.PAUSED: RunStatus.CANCELLING,
        },
    )


def recover_failed(
    connection: Connection, run_id: str, actor: Actor, *, heartbeat: datetime | None, force: bool
) -> Run:
    """End a stale run as ``failed``: its key is free with the commit, late workers are fenced off by its status.

    ``heartbeat``  what the operator saw; raises `Moved` if it is another now, unless ``force``.
    """
    run = _look(connection, run_id, "recover --fail", heartbeat, force=force)
    end_run(connection, run_id, RunStatus.FAILED, reason=f"recovered by {actor.name}: {actor.reason}")
    return _audited(connection, run, actor, "recover_fail")


def recover_resumed(
    connection: Connection, run_id: str, actor: Actor, *, heartbeat: datetime | None, force: bool
) -> Run:
    """Let a stale run go on under a new fence: whoever still works under the old one writes nothing.

    Its claims are void and its messages forgotten; open jobs are pending again, at no cost.  Lock order: fences, jobs, runs.
    """
    run = runs.get(connection, run_id)
    fence = run.fence + 1 if run.admission_hash is None else runs.raise_fence(connection, run.admission_hash)
    connection.execute(
        text(
            "INSERT INTO job_attempts (run_id, job_no, claim_no, worker, started_at, outcome, error)"
            " SELECT run_id, job_no, claims, worker, claimed_at, 'recovered', :reason FROM jobs"
            " WHERE run_id = :run_id AND state = 'running'"
        ),
        {"run_id": run_id, "reason": f"recovered by {actor.name}"},
    )
    connection.execute(
        text(
            "UPDATE jobs SET state = 'pending', claim_token = NULL, lease_until = NULL, queued_at = NULL"
            " WHERE run_id = :run_id AND state IN ('queued', 'running')"
        ),
        {"run_id": run_id},
    )
    run = _look(connection, run_id, "recover --resume", heartbeat, force=force)
    if run.status is RunStatus.CANCELLING:
        raise NotAllowed(run, f"run {run_id} is being cancelled; recover it with --fail")
    connection.execute(
        text(
            "UPDATE runs SET fence = :fence, heartbeat_at = NOW(6), status = IF(status = 'paused', 'running', status)"
            " WHERE run_id = :run_id"
        ),
        {"run_id": run_id, "fence": fence},
    )
    return _audited(connection, run, actor, "recover_resume")


def _look(connection: Connection, run_id: str, action: str, heartbeat: datetime | None, *, force: bool) -> Run:
    run = runs.find(connection, run_id, lock=True) or runs.get(connection, run_id)
    if not run.active:
        raise NotAllowed(run, f"run {run_id} is {run.status.value}; only an active run can be recovered")
    if not force and run.heartbeat_at != heartbeat:
        raise Moved(
            run,
            f"{action}: run {run_id} moved since you looked (heartbeat {run.heartbeat_at} UTC, you saw {heartbeat}); "
            "look again, it may be healthy. --force overrides",
        )
    return run


def _move(connection: Connection, run_id: str, actor: Actor, action: str, steps: dict[RunStatus, RunStatus]) -> Run:
    run = runs.find(connection, run_id, lock=True) or runs.get(connection, run_id)
    target = steps.get(run.status)
    if target is None:
        allowed = ", ".join(status.value for status in steps)
        raise NotAllowed(run, f"cannot {action} run {run_id}: it is {run.status.value}, not one of: {allowed}")
    ended = target is RunStatus.CANCELLED
    connection.execute(
        text(
            "UPDATE runs SET status = :status, reason = :reason, finished_at = IF(:ended, NOW(6), finished_at),"
            " heartbeat_at = IF(:resumed, NOW(6), heartbeat_at) WHERE run_id = :run_id"
        ),
        {
            "status": target.value,
            "reason": f"{action} by {actor.name}: {actor.reason}",
            "ended": ended,
            # A run that rested has not stood still: its clock starts again.
            "resumed": target is RunStatus.RUNNING,
            "run_id": run_id,
        },
    )
    return _audited(connection, run, actor, action)


def _audited(connection: Connection, before: Run, actor: Actor, action: str) -> Run:
    after = runs.get(connection, before.run_id)
    audit.write(connection, actor, action, before.run_id, _state(before), _state(after))
    return after


def _state(run: Run) -> dict[str, Any]:
    return {
        "status": run.status.value,
        "fence": run.fence,
        "heartbeat_at": None if run.heartbeat_at is None else run.heartbeat_at.isoformat(),
    }
